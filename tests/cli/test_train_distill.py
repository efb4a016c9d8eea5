"""``percert train distill`` and ``finetune``, then ``export``: from images to a metric."""

import json

import pytest
import torch
from safetensors.torch import save_file
from tests.training.image_world import image_folder

from percert.models.imagenet_networks import SqueezeNet

pytest.importorskip("lightning_fabric")

STUDENT = """
[student]
resize = "box"
[student.lipsim]
depth = 1
channels = 6
dense_depth = 1
dense_inner = 16
embedding = 16
side = 32
"""
SCHEDULE = "[schedule]\nsteps = 2\nbatch = 2\nwarmup = 1\nworkers = 1\n"
DISTILL = f"""
name = "small"
[data]
images = "images"
side = 64
[teacher]
name = "squeezenet1_0"
weights = "teacher.safetensors"
target = "principal"
dimensions = 4
fitted_on = 6
{STUDENT}
{SCHEDULE}
"""
FINETUNE = f"""
name = "tuned"
[[data]]
kind = "distortions"
path = "images"
side = 32
[loss]
kind = "raw"
{SCHEDULE}
"""


@pytest.fixture
def world(tmp_path):
    image_folder(tmp_path / "images", 6)
    torch.manual_seed(0)
    save_file(SqueezeNet().state_dict(), tmp_path / "teacher.safetensors")
    (tmp_path / "distill.toml").write_text(DISTILL)
    (tmp_path / "finetune.toml").write_text(FINETUNE)
    return tmp_path


def test_from_images_to_a_metric(world, percert, percert_json):
    common = ("--data", world, "--device", "cpu")
    run, tuned, out = world / "run", world / "tuned", world / "exported"
    said = percert_json("train", "distill", world / "distill.toml", *common, "--out", run)
    assert said["metric"] == str(run)
    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["recipe"] == DISTILL
    assert list((run / "tensorboard").iterdir())
    again = percert("train", "distill", world / "distill.toml", *common, "--out", run)
    assert "config.json" in again.stdout  # finished already: nothing is done again
    percert(
        "train", "finetune", world / "finetune.toml", *common, "--out", tuned, "--model", run,
        "--no-tensorboard",
    )  # fmt: skip
    assert not (tuned / "tensorboard").exists()
    files = percert_json("export", tuned, "--format", "hf", "--out", out)["files"]
    assert len(files) == 4
    photos = sorted((world / "images").rglob("*.png"))[:2]
    compared = percert_json("compare", *photos, "--metric", out, "--device", "cpu")
    assert 0 < compared["results"][0]["distance"] <= 2


def test_a_bad_recipe_or_model_is_one_line(world, percert):
    recipe = world / "bad.toml"
    recipe.write_text("[schedule]\nstep = 3\n")
    for verb in ("distill", "finetune"):
        said = percert(
            "train", verb, recipe, "--data", world, "--out", world / "x", exit_code=1
        ).stderr
        assert "[schedule]: unknown key 'step'" in said
        assert said.count("\n") == 1
    said = percert(
        "train", "finetune", world / "finetune.toml", "--data", world, "--out", world / "y",
        "--model", world / "nowhere", "--device", "cpu", exit_code=1,
    ).stderr  # fmt: skip
    assert "config.json: no such file" in said
    said = percert("export", world / "nowhere", "--out", world / "z", exit_code=1).stderr
    assert "no such folder" in said


@pytest.mark.parametrize("verb", [("train", "distill"), ("train", "finetune"), ("export",)])
def test_help_shows_examples(percert, verb):
    said = percert(*verb, "--help").stdout
    assert "Examples" in said
    assert " ".join(["percert", *verb]) in said


def test_an_unknown_recipe_is_one_line_with_those_that_there_are(percert, tmp_path):
    options = ("--data", tmp_path, "--out", tmp_path / "run")
    said = percert("train", "distill", "lipsim-tini", *options, exit_code=1).stderr
    assert "lipsim-tini: no such recipe, did you mean 'lipsim-tiny'?" in said
    assert "lipsim-paper-distill" in said
    assert not (tmp_path / "run").exists()
