"""A verb loads what it needs and no more: modules are counted, since seconds depend on the machine.

Torch alone takes a second of CPU, LanceDB another, pandas a third of one, torch's compiler 0.9 s.
"""

import json
import subprocess
import sys

import pytest

from percert.cli import app
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store

SCRIPT = """
import json, sys
from percert.cli import main
sys.argv[0] = "percert"
status = 0
try:
    main()
except SystemExit as end:
    status = end.code
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
#: What takes at least a tenth of a second to load, and what only some verbs want.
HEAVY = {
    "PIL",
    "fairlearn",
    "fastapi",
    "jinja2",
    "lancedb",
    "lightning_fabric",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "ray",
    "scipy",
    "skimage",
    "sklearn",
    "statsmodels",
    "tensorboard",
    "torch",
    "torchvision",
}


def loaded(*arguments):
    """The modules that ``percert ARGUMENTS`` has loaded when it ends, and ends well."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert not status, done.stderr
    return set(modules)


def groups():
    """Every group of verbs, by its words; the help of the whole is the empty one."""
    return [(), *((group.name,) for group in app.registered_groups)]


@pytest.mark.parametrize("words", groups(), ids=" ".join)
def test_help_loads_nothing_heavy(words):
    assert not HEAVY & loaded(*words, "--help")


def test_the_help_of_a_verb_loads_nothing_heavy():
    assert not HEAVY & loaded("compare", "--help")
    assert not HEAVY & loaded("eval", "copies", "--help")


def test_the_list_of_metrics_loads_no_torch():
    assert not HEAVY & loaded("metrics")


def test_what_a_store_holds_is_said_without_torch(tmp_path):
    open_store(tmp_path / "a.store", Thumbnail(8))
    modules = loaded("index", "info", "--store", tmp_path / "a.store")
    assert "lancedb" in modules  # which itself takes pandas
    assert not (HEAVY - {"lancedb", "numpy", "pandas", "pyarrow"}) & modules


def test_a_comparison_loads_torch_and_pillow_and_no_compiler(files):
    modules = loaded("compare", files / "cat.png", files / "inside" / "small.png")
    assert {"torch", "PIL"} <= modules
    assert not (HEAVY - {"torch", "PIL", "numpy"}) & modules
    assert "torch._dynamo" not in modules


def test_the_attacks_are_listed_without_what_they_attack():
    modules = loaded("attack", "list")
    assert not (HEAVY - {"torch", "numpy", "PIL"}) & modules
    assert "torch._dynamo" not in modules
