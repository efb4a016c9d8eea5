"""The extras: what they hold, how a message adds one, and that verbs look for theirs at once."""

import importlib.metadata
import re
import subprocess
import sys

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.docs.commands import REPOSITORY, verbs

from percert import extras
from percert.extras import EXTRAS, install_extra, install_package, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
DECLARED = {
    name: {canonicalize_name(Requirement(text).name) for text in texts}
    for name, texts in PROJECT["optional-dependencies"].items()
}
#: For who works on percert, not for a verb.
OF_A_CHECKOUT = {"experiments", "demo", "dev", "docs", "test"}
#: A run may do without (--no-tensorboard).
OPTIONAL = {"tensorboard"}


def extras_of(verb):
    """The extras that a verb needs, always and sometimes."""
    callback = verbs()[verb].callback
    return getattr(callback, "extras", ()), getattr(callback, "sometimes", ())


NEEDY = [verb for verb in sorted(verbs()) if extras_of(verb)[0]]


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_an_extra_holds_the_modules_that_are_looked_for(name):
    made_by = importlib.metadata.packages_distributions()
    there = [module for module in EXTRAS[name] if module in made_by]
    found = {canonicalize_name(one) for module in there for one in made_by[module]}
    if len(there) == len(EXTRAS[name]):
        # One module may be of several distributions, as cv2 is.
        assert all(
            {canonicalize_name(one) for one in made_by[module]} & DECLARED[name] for module in there
        )
        assert DECLARED[name] - OPTIONAL <= found
    assert len(EXTRAS[name]) == len(DECLARED[name] - OPTIONAL)


def test_every_extra_is_for_a_verb():
    assert set(EXTRAS) == set(DECLARED) - OF_A_CHECKOUT
    # HEIC is read by every verb that reads images, and asked for by none.
    assert set(EXTRAS) - {"heic"} == {
        one for verb in verbs() for kind in extras_of(verb) for one in kind
    }


def test_what_brings_torchvision_says_so():
    brings = {"piq", "timm", "torchvision"}
    assert set(extras.WITH_TORCHVISION) == {name for name in EXTRAS if DECLARED[name] & brings}


def test_in_a_checkout_its_constraints_hold(monkeypatch):
    pinned = re.search(r"^torch==(\S+)", (REPOSITORY / "constraints.txt").read_text(), re.M)[1]
    monkeypatch.setattr(extras, "_CHECKOUT", REPOSITORY)
    monkeypatch.setattr(extras, "_torch", lambda: (pinned, ""))
    assert install_extra("search") == (
        "pip install -c constraints.txt -e '.[search]' in the checkout"
    )
    # Another torch than theirs would be exchanged.
    monkeypatch.setattr(extras, "_torch", lambda: ("2.5.1", ""))
    assert install_extra("search") == "pip install -e '.[search]' in the checkout"


def test_elsewhere_the_installed_percert_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path)
    assert install_extra("search") == "pip install 'percert[search]'"


def test_a_torch_for_the_cpu_stays_one(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    kept = "torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu"
    assert install_extra("timm") == f"pip install 'percert[timm]' {kept}"
    assert install_package("dreamsim") == f"pip install dreamsim {kept}"
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    assert install_package("dreamsim") == "pip install dreamsim torch==2.13.0"


def test_an_installed_percert_is_sought_on_no_index():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "percert[report]"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout


def test_what_is_missing_is_named_and_what_is_there_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^the index needs pyarrow: pip install .*\[search\]'"):
        require("the index", "search")
    with pytest.raises(ValueError, match="expected one of app, attacks,"):
        install_extra("everything")


@pytest.mark.parametrize("verb", NEEDY, ids=" ".join)
def test_a_verb_looks_for_its_extras_before_it_works(verb, monkeypatch, capsys):
    extra = extras_of(verb)[0][0]
    monkeypatch.setitem(sys.modules, EXTRAS[extra][-1], None)
    with pytest.raises(typer.Exit) as left:
        verbs()[verb].callback()  # without its arguments: it must not come to need them
    assert left.value.exit_code == 1
    said = capsys.readouterr().err
    assert f"needs {EXTRAS[extra][-1]}: pip install" in said
    assert f"[{extra}]" in said


def test_the_report_of_eval_copies_is_looked_for_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(typer.Exit):
        verbs()["eval", "copies"].callback(out="somewhere")
    assert "needs matplotlib: pip install" in capsys.readouterr().err


def test_the_table_of_extras_names_each_with_its_verbs():
    page = (REPOSITORY / "docs" / "start.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    table = {
        row[0].strip("`"): set(re.findall(r"`([a-z]+(?: [a-z-]+)?)`", row[-1])) for row in rows
    }
    expected = {name: set() for name in EXTRAS}
    for verb in verbs():
        for name in {one for kind in extras_of(verb) for one in kind}:
            expected[name].add(" ".join(verb))
    known = {" ".join(verb) for verb in verbs()}
    assert {name: table[name] & known for name in EXTRAS} == expected
    bare = {" ".join(verb) for verb in verbs() if not extras_of(verb)[0]}
    always = {" ".join(verb) for verb in verbs() if extras_of(verb)[1] and not extras_of(verb)[0]}
    assert bare - always <= table["none"] & known <= bare
