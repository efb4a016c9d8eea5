"""The comparison of copy recipes: trains, measures what was held out, keeps what is better."""

import json
from pathlib import Path

import pytest
from tests.training.tiny_world import make_world

from experiments.copies import training

pytest.importorskip("pyarrow", reason="the labelled images are parquet")


def test_variants_are_trained_and_measured_on_what_is_held_out(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    text = recipe.read_text().replace("share = 4\n", "share = 4\nhold_out = 3\n")
    recipe.write_text(text)
    training.main(
        [
            *("--data", str(recipe.parent), "--recipe", str(recipe), "--seconds", "0"),
            *("--variant", "margin 5", "--device", "cpu"),
            *("--cache", str(tmp_path / "cache"), "--out", str(tmp_path)),
        ]
    )
    result = json.loads((tmp_path / "copies-training.json").read_text())
    names = [trial["name"] for trial in result["trials"]]
    assert names == ["lipsim-tiny-1", "lipsim-tiny", "the recipe", "margin 5"]
    for trial in result["trials"]:
        assert len(trial["found"]) == 8
        for shares in trial["found"].values():
            assert shares == sorted(shares, reverse=True)
            assert 0 <= shares[-1] <= shares[0] <= 1
    assert result["trials"][2]["steps"] == 3
    assert result["trials"][2]["pictures"] == 24


def test_what_is_held_out_is_what_is_not_trained_on(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    recipe.write_text(recipe.read_text().replace("share = 4\n", "share = 4\nhold_out = 3\n"))
    settings = training.read_copies_recipe(recipe)
    source = settings.data[0]
    trained = training.read_pictures(recipe.parent, source, 0, tmp_path / "cache").images
    held = training.held_out(settings, trained, recipe.parent, tmp_path / "cache")
    left = held.photographs
    assert len(list((tmp_path / "cache").iterdir())) == 1 + len(settings.data)  # decoded once
    assert len(left) == 2
    assert not (left[:, None] == trained[None]).flatten(2).all(2).any()
