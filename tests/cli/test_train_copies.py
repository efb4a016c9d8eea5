"""``percert train copies``: from photographs to a metric, and what is said of a bad recipe."""

import json
from pathlib import Path

import pytest
from tests.training.tiny_world import make_world

pytest.importorskip("lightning_fabric")
pytest.importorskip("pyarrow", reason="the labelled images are parquet")

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_command_trains_a_metric(tmp_path, percert, percert_json):
    recipe = make_world(tmp_path / "data")
    recipe.write_text(recipe.read_text().replace('name = "lipsim-tiny"', 'name = "mine"'))
    out = tmp_path / "out"
    given = ("train", "copies", recipe, "--data", recipe.parent, "--out", out, "--device", "cpu")
    said = percert_json(*given, "--no-tensorboard")
    assert said["metric"] == str(out)
    assert json.loads((out / "run.json").read_text())["seed"] == 3
    photo = recipe.parent / "imagenet-samples" / "0.png"
    (row,) = percert_json("compare", photo, photo, "--metric", out)["results"]
    assert row["distance"] < 1e-6
    assert row["copy"] is True  # within 60 degrees, a distance of 0.5
    assert percert_json("audit", "network", out)["passed"]
    pytest.importorskip("lancedb")
    store = ("--store", tmp_path / "store")
    percert("index", "add", photo.parent, *store, "--metric", out, "--views", "whole")
    found = percert_json("index", "search", photo, *store, "--metric", out)
    assert found["answers"][0]["results"][0]["path"].endswith("0.png")
    said = percert("index", "search", photo, *store, exit_code=1).stderr
    assert "is of a trained metric called mine: name its folder with --metric" in said


def test_photographs_alone_go_on_from_the_embedded_default(tmp_path, percert, percert_json):
    folder = make_world(tmp_path / "data").parent / "imagenet-samples"
    percert("export", "lipsim-tiny", "--out", tmp_path / "start")
    text = (RECIPES / "copies.toml").read_text()
    recipe = tmp_path / "recipe.toml"
    for old, new in (("steps = 1500", "steps = 1"), ("share = 48", "share = 4")):
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text.replace("triplets = 16", "triplets = 2"))
    percert(
        *("train", "copies", recipe, "--data", folder, "--model", tmp_path / "start"),
        *("--out", tmp_path / "out", "--device", "cpu", "--no-tensorboard"),
    )
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert card["trained"]["pictures"] == 6
    assert (
        card["trained"]["from"]
        == json.loads((tmp_path / "start" / "config.json").read_text())["weights"]
    )


def test_bad_input_is_one_line(tmp_path, percert):
    recipe = make_world(tmp_path / "data")
    good = recipe.read_text()
    given = ("train", "copies", recipe, "--data", recipe.parent, "--out", tmp_path / "out")
    for text, expected in (
        ("[schedule]\nstep = 3\n", "[schedule]: unknown key 'step'; known: "),
        ("[[data]]\nshare = 5\nclasses = true\n", "expected an even share, for pairs of a class"),
        ("[[data]]\nshare = 3\n", "expected at least 4 pictures a step, found 3"),
        ("[semantics]\nweight = 0.1\n", "[semantics]: needs [[data]] with classes, found none"),
        (good.replace("teacher.safetensors", "nobody.safetensors"), "nobody.safetensors"),
        (good.replace('"imagenet-samples"', '"none"'), "none: no such folder"),
    ):
        recipe.write_text(text)
        said = percert(*given, exit_code=1).stderr
        assert expected in said
        assert not (tmp_path / "out" / "model.safetensors").exists()
