"""``percert train distill`` and ``finetune``, then ``export``: from images to a metric."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file
from tests.data.test_night import night
from tests.training.image_world import image_folder

from experiments.speed.certificates import PlainLipSim, published_state
from percert.images import load_image, save_image
from percert.lipschitz.architectures import SIZES, LipSimSize
from percert.metrics.catalog import create_metric
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


NIGHT = f"""
name = "night"
[[data]]
kind = "night"
path = "nights"
side = 32
[loss]
kind = "hinge"
margin = 0.5
{SCHEDULE}
"""


def test_from_the_authors_file_to_its_row(tmp_path, percert, percert_json, monkeypatch):
    """Scored on NIGHT as it is, fine-tuned on it, and scored again: each from one command."""
    size = LipSimSize(2, 12, 1, 13, conv_inner=3, embedding=1792, side=256)
    monkeypatch.setitem(SIZES, "small", replace(size, dense_inner=9))
    torch.manual_seed(0)
    network = PlainLipSim(**asdict(size)).eval()
    file = tmp_path / "model.ckpt-1.pth"
    torch.save(published_state(network), file)
    folder = tmp_path / "nights"
    folder.mkdir()
    split = ["test", "test", "test", "train", "train"]
    night(folder, [(i, 1 - i % 2, i % 2, 6, "cat", split[i], i < 2) for i in range(5)])
    for path in [*(f"ref/000/{i:03d}" for i in range(5)),
                 *(f"distort/000/{i:03d}_{s}" for i in range(5) for s in (0, 1))]:  # fmt: skip
        seed = torch.Generator().manual_seed(len(path) + int(path.split("/")[-1][:3]))
        image = torch.rand(3, 32, 32, generator=seed)
        if path.endswith("_1"):
            image = image.flip(1)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save_image((255 * image).round() / 255, folder / f"{path}.png")
    out = tmp_path / "table2"
    score = ("eval", "twoafc", folder, "--size", "256", "--out", out, "--device", "cpu")
    (row,) = percert_json(*score, "--metric", f"lipsim-small={file}")["metrics"]
    (scores, *_) = row["scores"]
    assert scores["triplets"] == 3
    assert scores["natural"] == pytest.approx(_natural(network, folder))
    assert [entry["eps"] * 255 for entry in scores["certified"]] == pytest.approx([36, 72, 108])
    (tmp_path / "night.toml").write_text(NIGHT)
    tuned = tmp_path / "tuned"
    percert("train", "finetune", tmp_path / "night.toml", "--data", tmp_path, "--model", file,
            "--out", tuned, "--device", "cpu")  # fmt: skip
    before, after = (create_metric(*name, device="cpu") for name in
                     (("lipsim-small", file), (str(tuned),)))  # fmt: skip
    assert after.constant == before.constant == 1
    photo = torch.rand(1, 3, 40, 40)
    assert after.embed(photo).shape == before.embed(photo).shape == (1, 1792)
    assert not torch.equal(after.embed(photo), before.embed(photo))
    exported = tmp_path / "exported"
    percert("export", "lipsim-small", "--checkpoint", file, "--constant", "added",
            "--embedding", "512", "--out", exported)  # fmt: skip
    assert create_metric(str(exported), device="cpu").embed(photo).shape == (1, 512)


@torch.no_grad()
def _natural(network, folder):
    """The score of the authors' network, by hand: antialiased bicubic, [h; 1], cosines."""

    def see(name):
        image = load_image(folder / name)[None].double()
        large = torch.nn.functional.interpolate(image, (256, 256), mode="bicubic", antialias=True)
        large = (255 * large.clamp(0, 1)).round() / 255
        return torch.cat((network.double()(large), torch.ones(1, 1)), 1)

    right = 0
    for i in range(3):
        reference = see(f"ref/000/{i:03d}.png")
        near = [
            float(
                torch.nn.functional.cosine_similarity(
                    reference, see(f"distort/000/{i:03d}_{s}.png")
                )
            )
            for s in (0, 1)
        ]
        right += (near[1] > near[0]) == (i % 2 == 1)
    return right / 3
