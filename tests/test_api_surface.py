"""The public names are those of the list beside this file, and importing them is cheap.

A name that comes or goes must come or go in tests/api_surface.txt too, where a reviewer sees it.
``python tests/test_api_surface.py`` writes the list anew.
"""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("api_surface.txt")
PACKAGES = (
    "percert",
    "percert.attacks",
    "percert.audit",
    "percert.certify",
    "percert.defences",
    "percert.fairness",
    "percert.images",
    "percert.metrics",
    "percert.reports",
    "percert.search",
)
HEAVY = ("matplotlib", "pandas", "rich", "scipy", "skimage", "torchvision", "typer")


def public_names():
    return sorted(
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
    )


def test_the_public_names_are_those_of_the_list():
    assert public_names() == LIST.read_text().splitlines()


@pytest.mark.parametrize("name", LIST.read_text().splitlines())
def test_every_public_name_is_there_and_says_what_it_is(name):
    package, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(package), attribute)
    assert not callable(value) or value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    import percert

    with pytest.raises(AttributeError, match="module 'percert' has no attribute 'certainty'"):
        percert.certainty  # noqa: B018  # the access itself is what is tested
    assert "create_metric" in dir(percert)


def test_import_loads_nothing_and_a_metric_nothing_heavy():
    script = (
        "import sys, json, percert; before = list(sys.modules); percert.create_metric('thumbnail');"
        "percert.certify, percert.images; print(json.dumps([before, list(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, after = json.loads(done.stdout)
    assert not {"torch", "numpy", "PIL", *HEAVY} & set(before)
    assert "torch" in after
    assert not set(HEAVY) & set(after)


def test_the_version_is_that_of_pyproject():
    import percert

    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    written = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if written is None:
        assert re.search(r"^path = .*percert/__init__\.py", project, re.MULTILINE)
    else:
        assert written[1] == percert.__version__


if __name__ == "__main__":
    LIST.write_text("\n".join(public_names()) + "\n")
