"""A few small image files, and the command as a function."""

import builtins
import json

import pyarrow as pa
import pytest
import torch
from skimage import data
from tests.docs.commands import verbs
from typer.testing import CliRunner

from percert.cli import app
from percert.extras import EXTRAS
from percert.images import save_image


def _photograph(array, size):
    image = torch.from_numpy(array[..., :3].copy()).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(image, size, mode="area")[0]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """cat.png, a noisy copy of it, a smaller copy, another photograph, and files that are none."""
    folder = tmp_path_factory.mktemp("images")
    cat = _photograph(data.chelsea(), (48, 72))
    noise = torch.randn(cat.shape, generator=torch.Generator().manual_seed(0))
    (folder / "inside" / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir()
    save_image(cat, folder / "cat.png")
    save_image((cat + 0.05 * noise).clamp(0, 1), folder / "inside" / "noisy.png")
    save_image(_photograph(data.chelsea(), (30, 44)), folder / "inside" / "small.png")
    save_image(_photograph(data.coffee(), (48, 72)), folder / "inside" / "deeper" / "coffee.png")
    (folder / "bad.png").write_text("not an image")
    (folder / "note.txt").write_text("a text")
    return folder


# The first table of a process looks for pandas, in the name of whoever asked for the table.
pa.table({"a": [1]})

OPTIONAL = {module for modules in EXTRAS.values() for module in modules}


@pytest.fixture
def imported(monkeypatch):
    """The modules of extras that percert's own code imports, loaded before or not."""
    names = set()
    really = builtins.__import__

    def watched(name, globals=None, *rest, **named):
        if (globals or {}).get("__name__", "").startswith("percert."):
            names.add(name.partition(".")[0])
        return really(name, globals, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", watched)
    return names


@pytest.fixture
def percert(monkeypatch, imported):
    """``percert("compare", ...)`` gives the runner's result: exit_code, stdout, stderr.

    Of the extras, the verb may import those that it says it needs.
    """
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, exit_code=0):
        words = [str(argument) for argument in arguments]
        imported.clear()
        result = CliRunner().invoke(app, words)
        assert imported & OPTIONAL <= _allowed(words), f"not of the extras of {words[:2]}"
        said = f"{result.stdout}{result.stderr}"
        assert result.exit_code == exit_code, said
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        assert "Traceback" not in said
        return result

    return run


def _allowed(words):
    verb = verbs().get(tuple(words[:2])) or verbs().get(tuple(words[:1]))
    kinds = [getattr(verb and verb.callback, kind, ()) for kind in ("extras", "sometimes")]
    return {module for extras in kinds for extra in extras for module in EXTRAS[extra]}


@pytest.fixture
def percert_json(percert):
    """The same with ``--json``: the one object that stdout holds."""

    def run(*arguments, exit_code=0):
        return json.loads(percert(*arguments, "--json", exit_code=exit_code).stdout)

    return run
