"""A run learns, is the same twice, and goes on where it was stopped, to the very bit."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.tiny_world import make_world

from percert.lipschitz.tiny import tiny_network
from percert.training.__main__ import main
from percert.training.recipe import read_recipe
from percert.training.tiny import learning_rate, train

pytest.importorskip("pyarrow", reason="the labelled images are parquet")


class _KilledError(Exception):
    pass


def _run(
    recipe: Path, out: Path, *, stop_after: int | None = None, start: Path | None = None
) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []

    def progress(step: int, losses: dict[str, float]) -> None:
        seen.append(losses)
        if step == stop_after:
            raise _KilledError

    train(read_recipe(recipe), recipe.parent, out, start=start, progress=progress)
    return seen


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    whole = _run(recipe, tmp_path / "whole")
    with pytest.raises(_KilledError):
        _run(recipe, tmp_path / "parts", stop_after=5)
    assert not (tmp_path / "parts" / "lipsim-tiny.safetensors").exists()
    rest = _run(recipe, tmp_path / "parts")
    assert len(whole) == 6
    assert len(rest) == 2  # saved after step 4
    expected = load_file(tmp_path / "whole" / "lipsim-tiny.safetensors")
    found = load_file(tmp_path / "parts" / "lipsim-tiny.safetensors")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert {"copies", "distortions", "semantics", "distillation"} <= whole[0].keys()


def test_a_run_lowers_its_loss(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    recipe.write_text(recipe.read_text().replace("steps = 6", "steps = 40"))
    losses = [values["copies"] for values in _run(recipe, tmp_path / "out")]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_the_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    _run(recipe, tmp_path / "out")
    recipe.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(ValueError, match="written by another recipe"):
        _run(recipe, tmp_path / "out")


def test_a_run_begins_from_given_weights_but_goes_on_with_its_own(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    # At a rate of nearly 0 a run ends where it began.
    text = recipe.read_text().replace("[schedule]\n", "[schedule]\nlearning_rate = 1e-12\n")
    recipe.write_text(text.replace("steps = 6", "steps = 3"))
    torch.manual_seed(99)
    started = tiny_network(read_recipe(recipe).network).state_dict()
    start = tmp_path / "earlier.safetensors"
    save_file(started, start)
    with pytest.raises(_KilledError):
        _run(recipe, tmp_path / "out", start=start, stop_after=3)
    start.unlink()  # the run has a state of its own by now
    assert len(_run(recipe, tmp_path / "out", start=start)) == 1
    ended = load_file(tmp_path / "out" / "lipsim-tiny.safetensors")
    for name, value in started.items():
        assert torch.allclose(ended[name], value, rtol=0, atol=1e-9), name


def test_weights_to_begin_from_must_be_there_and_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_world(tmp_path / "data")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    for start, expected in (
        (tmp_path / "nowhere.safetensors", "not weights that a run could begin from"),
        (damaged, "not weights that a run could begin from"),
        (other, "of another shape than the recipe's: for "),
    ):
        arguments = ["percert.training", str(recipe), "--data", str(recipe.parent), "--out"]
        arguments += [str(tmp_path / "out"), "--start", str(start)]
        monkeypatch.setattr("sys.argv", arguments)
        assert main() == 1
        message = capsys.readouterr().err.strip()
        assert f"{start}: " in message
        assert expected in message
        assert "\n" not in message


def test_a_bad_recipe_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[schedule]\nstep = 3\n")
    arguments = ["percert.training", str(recipe), "--data", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 1
    message = capsys.readouterr().err.strip()
    assert "[schedule]: unknown key 'step'; known: " in message
    assert "\n" not in message


def test_learning_rate_warms_up_stays_and_falls(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[schedule]\nsteps = 1000\nwarmup = 10\nplateau = 0.5\nlearning_rate = 1.0\n")
    rates = [learning_rate(read_recipe(path), step) for step in range(1000)]
    assert rates[0] == 0.1
    assert rates[9] == rates[500] == 1.0
    assert math.isclose(rates[750], 0.5, abs_tol=1e-9)
    assert 0 < rates[999] < 1e-4
