"""piq as an oracle, without torchvision."""

import importlib
import importlib.util
import sys
import types

import pytest


@pytest.fixture
def piq_module(monkeypatch):
    """Imports a module of piq past ``piq/__init__.py``, which needs a working torchvision."""
    spec = importlib.util.find_spec("piq")
    if spec is None:
        pytest.skip("piq, an oracle, is not installed")
    package = types.ModuleType("piq")
    package.__path__ = list(spec.submodule_search_locations)
    before = set(sys.modules)
    monkeypatch.setitem(sys.modules, "piq", package)
    yield lambda name: importlib.import_module(f"piq.{name}")
    for name in set(sys.modules) - before:
        if name.startswith("piq."):
            del sys.modules[name]
