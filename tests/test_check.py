"""The library speaks of arguments, each face of its own names for them."""

import ast
import pickle
import re

import pytest
from tests.docs.commands import REPOSITORY, verbs

from percert.check import Argument, ArgumentError, Wording
from percert.cli.command import option_names

SOURCE = REPOSITORY / "src" / "percert"
#: Faces, which speak of their own options, and what is about commands.
FACES = ("cli", "app")
FLAG = re.compile(r"(?:^|[\s(`'\"])--[a-z]")


def texts(tree):
    """The strings of a module that are not docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and node not in docstrings:
            yield node.value


def test_no_message_of_the_library_names_an_option():
    found = [
        f"{path.relative_to(SOURCE)}: {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] not in FACES
        for text in texts(ast.parse(path.read_text("utf-8")))
        # Whole commands, of percert and of others, are what a reader types.
        if FLAG.search(text) and " " in text.strip()
        if "percert " not in text and path.name != "extras.py"
    ]
    assert found == []


def test_every_argument_of_a_message_is_an_option_of_a_verb():
    named = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r'Argument\("(\w+)"\)', path.read_text("utf-8"))
    }
    assert {"drop_missing", "out", "weights"} <= named
    options = {name for verb in verbs().values() for name in named if _is_option(verb, name)}
    # Asked for where it was given: that message cannot come.
    assert named - options <= {"target_column"}


def _is_option(verb, name):
    return option_names(verb.callback)(name).startswith("--")


def test_an_option_is_called_as_the_verb_calls_it():
    name = option_names(verbs()["attack", "classify"].callback)
    assert [name(one) for one in ("save", "labels_from", "device", "nothing")] == [
        "--save", "--labels-from", "--device", "nothing",
    ]  # fmt: skip
    assert option_names(verbs()["compare",].callback)("metric") == "--metric"


def test_a_message_survives_the_way_between_processes():
    error = ArgumentError("give a file with ", Argument("weights"))
    for copied in (pickle.loads(pickle.dumps(error)), pickle.loads(pickle.dumps(error)).wording):
        assert str(copied) == "give a file with weights"
    wording = pickle.loads(pickle.dumps(Wording("use ", Argument("out"))))
    assert wording.said(str.upper) == "use OUT"


@pytest.mark.parametrize("verb", [("attack", "classify"), ("audit", "groups")], ids=" ".join)
def test_the_command_line_says_its_option_where_the_library_says_the_argument(verb):
    error = ArgumentError("give a file with ", Argument("weights"))
    assert error.wording.said(option_names(verbs()[verb].callback)) == "give a file with --weights"
