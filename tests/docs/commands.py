"""The commands that pages and helps show, as words, and the parsers that would take them."""

import argparse
import functools
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from experiments.papers.__main__ import app as papers
from percert.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
_WRITTEN = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not {"_build", "_generated"} & {*page.relative_to(DOCS).parts}
]
#: Pages of measurements are written by scripts; all others by hand.
MEASURED = [page for page in _WRITTEN if page.parent.name == "results" and page.stem != "index"]
PAGES = [*(page for page in _WRITTEN if page not in MEASURED), REPOSITORY / "README.md"]
RESULTS = [*MEASURED, REPOSITORY / "experiments" / "README.md"]


@dataclass(frozen=True)
class Shown:
    """One command as it is shown: where, its text, and its words without what is the shell's."""

    where: str
    text: str

    @property
    def words(self) -> list[str]:
        """What the program gets: no variables before it, nothing behind a pipe."""
        words = shlex.split(self.text, comments=True)
        words = words[: words.index("|")] if "|" in words else words
        while re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        if words[0] == "torchrun":
            words = ["python", *words[words.index("-m") :]]
        return ["percert", *words[3:]] if words[:3] == ["python", "-m", "percert"] else words

    @property
    def piped_into(self) -> str:
        """What stands behind the first pipe."""
        words = shlex.split(self.text, comments=True)
        return " ".join(words[words.index("|") + 1 :]) if "|" in words else ""


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def shown_in(page: Path) -> list[Shown]:
    """What stands behind a $ in a page's blocks of the shell, in its order."""
    return [Shown(name_of(page), line[2:]) for line in shell_lines(page) if line.startswith("$ ")]


def shell_lines(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:console|bash|sh|shell)\n(.*?)^ *```", text, re.M | re.S)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def mentioned_in(page: Path) -> list[Shown]:
    """Commands within sentences, whose capitals stand for something, and in indented blocks."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    inline = re.findall(r"`((?:percert|python -m (?:percert|experiments))(?: [^`]*)?)`", text)
    indented = re.findall(r"^ {4}((?:percert|python -m) (?:.*\\\n)*.*)", text, re.M)
    return [Shown(name_of(page), " ".join(found.replace("\\\n", " ").split()))
            for found in (*inline, *indented)]  # fmt: skip


@functools.cache
def verbs() -> dict[tuple[str, ...], object]:
    """Every command of the tree that does something, by its words."""

    def walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
        below = getattr(command, "commands", None)
        if below is None:
            yield words, command
        else:
            for name, inner in sorted(below.items()):
                yield from walk(inner, (*words, name))

    return dict(walk(get_command(app), ()))


def verb_of(words: list[str]) -> tuple[str, ...]:
    """The words of the verb that a command line names, without "percert"."""
    known = verbs()
    for length in (1, 2):
        if tuple(words[1 : 1 + length]) in known:
            return tuple(words[1 : 1 + length])
    raise AssertionError(f"no such verb: {' '.join(words)}")


def examples_of(verb: tuple[str, ...]) -> list[Shown]:
    """The examples at the end of a verb's help."""
    help_text = inspect.cleandoc(getattr(verbs()[verb], "help", "") or "")
    examples = "".join(re.split(r"\[bold\]Examples?\[/bold\]", help_text)[1:])
    where = f"percert {' '.join(verb)} --help"
    return [Shown(where, " ".join(each.split())) for each in examples.split("\n\n") if each.strip()]


class Parsed(Exception):
    """Raised in place of what would follow after parsing."""


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real parser of ``percert`` or of an experiment take ``words``."""
    if words[0] == "percert":
        verb = verb_of(words)
        verbs()[verb].make_context(" ".join(verb), words[1 + len(verb) :])  # type: ignore[attr-defined]
        return
    if words[3] == "papers":
        get_command(papers).make_context("papers", words[4:])
        return
    real = argparse.ArgumentParser.parse_args
    _until_parsed(words, lambda parser: real(parser, words[4:]), monkeypatch)


def _until_parsed(
    words: list[str],
    instead: Callable[[argparse.ArgumentParser], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Call the ``main`` of ``python -m experiments NAME`` up to its parser, to do ``instead``."""
    assert words[:3] == ["python", "-m", "experiments"], words
    module = importlib.import_module(f"experiments.{words[3]}")
    if "argparse" not in inspect.getsource(module):  # a folder at most
        assert not [word for word in words[4:] if word.startswith("-")], words
        assert module.main
        return

    def parse_args(parser: argparse.ArgumentParser, *_: object) -> None:
        instead(parser)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Parsed):
            module.main()


def options_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every option that the verb or experiment known from its words has."""
    if words[0] == "percert":
        parameters = verbs()[verb_of(words)].params  # type: ignore[attr-defined]
    elif words[3] == "papers":
        parameters = get_command(papers).params
    else:
        found: set[str] = set()
        _until_parsed(words[:4], lambda p: found.update(p._option_string_actions), monkeypatch)
        return found
    return {name for each in parameters for name in (*each.opts, *each.secondary_opts)}
