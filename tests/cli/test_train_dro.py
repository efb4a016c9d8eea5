"""``percert train adversarial-dataset`` and ``dro``, from a parquet file to classifiers."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

import pyarrow as pa
import pyarrow.parquet as pq

from percert.models import load_classifier
from percert.training.dro import DROSettings, open_dataset, read_adversarial_recipe, read_dro_recipe
from percert.training.dro.recipe import parse_solver


def write_digits(path, count=24, side=12):
    """Dark images of class 0 and bright ones of class 1, as Hugging Face ``datasets`` has them."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        level = 60 + 120 * (number % 2)
        pixels = (level + generator.integers(-30, 31, (side, side, 3))).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows, "label": [n % 2 for n in range(count)]}), path)
    return path


def test_from_images_to_robust_models(tmp_path, percert, percert_json):
    images = write_digits(tmp_path / "train.parquet")
    clean, made, models = tmp_path / "clean", tmp_path / "D", tmp_path / "models"
    common = ("--images", images, "--model", "small-resnet:4", "--batch-size", 8, "--device", "cpu")
    found = percert_json("train", "adversarial-dataset", *common, "--out", clean, "--rounds", 0)
    assert (found["images"], found["clean"], found["rounds"]) == (24, 24, [])
    start = percert_json(
        *("train", "dro", clean, "--out", tmp_path / "start", "--models", 1, "--steps", 12),
        *("--model", "small-resnet:4", "--momentum", 0.9, "--batch-size", 8, "--device", "cpu"),
    )
    assert start["models"][0]["accuracy"] == 1
    theta = tmp_path / "start" / "model-0000.safetensors"
    arguments = (
        *("train", "adversarial-dataset", *common, "--out", made, "--weights", theta),
        *("--attack", "pgd:norm=linf,eps=0.4,steps=3", "--rounds", 1, "--cluster-size", 4),
    )
    found = percert_json(*arguments)
    (only,) = found["rounds"]
    assert only["images"] == 24
    assert only["wrong"] + only["spared"] + only["attacked"] == 24
    assert only["succeeded"] > 0
    assert len(open_dataset(made)) == found["images"] == 48
    record = json.loads((made / "run.json").read_text())
    assert record["finished"]
    assert record["settings"]["attack"] == "pgd:norm=linf,eps=0.4,steps=3"
    classifier = load_classifier(record["settings"]["model"], "cpu", made / "model.safetensors")
    assert classifier(torch.rand(1, 3, 12, 12)).shape == (1, 2)
    # The same again does nothing, and says the same; another attack does not go on there.
    assert percert_json(*arguments)["rounds"] == found["rounds"]
    refused = percert(*(a if "pgd" not in str(a) else "ascent" for a in arguments), exit_code=1)
    assert "holds a data set with attack" in refused.stderr

    dro = ("train", "dro", made, "--out", models, "--model", "small-resnet:4", "--steps", 1)
    dro += ("--weights", theta, "--device", "cpu", "--batch-size", 16)
    first = percert_json(*dro, "--models", 1)["models"]
    both = percert_json(*dro, "--models", 2)["models"]
    assert both[0] == first[0]
    assert [row["seed"] for row in both] == [0, 1]
    assert "in " + str(models) in percert(*dro, "--models", 2).stdout
    refused = percert(*dro, "--models", 2, "--learning-rate", 0.2, exit_code=1)
    assert "holds models with learning_rate 0.1, these have 0.2" in refused.stderr


def test_a_recipe_is_what_options_override(tmp_path, percert, percert_json):
    images, recipe = write_digits(tmp_path / "train.parquet"), tmp_path / "mine.toml"
    recipe.write_text(
        'model = "small-resnet:4"\nattack = "pgd:norm=linf,eps=0.4,steps=2"\n'
        "[rounds]\nrounds = 2\nbatch = 8\n"
    )
    arguments = ("--recipe", recipe, "--images", images, "--device", "cpu")
    arguments = ("train", "adversarial-dataset", *arguments)
    found = percert_json(*arguments, "--out", tmp_path / "two")
    assert [entry["round"] for entry in found["rounds"]] == [1, 2]
    found = percert_json(*arguments, "--out", tmp_path / "one", "--rounds", 1, "--limit", 16)
    assert [entry["round"] for entry in found["rounds"]] == [1]
    assert found["clean"] == 16
    settings = open_dataset(tmp_path / "one").about.settings
    assert (settings["rounds"], settings["batch"], settings["limit"]) == (1, 8, 16)
    assert settings["attack"] == "pgd:norm=linf,eps=0.4,steps=2"

    recipe.write_text('model = "small-resnet:4"\nmodels = 3\n[training]\npasses = 1\ndraws = 9\n')
    dro = ("train", "dro", tmp_path / "one", "--recipe", recipe, "--device", "cpu")
    rows = percert_json(*dro, "--models", 2, "--out", tmp_path / "models")["models"]
    assert [row["images"] for row in rows] == [9, 9]
    recipe.write_text("[training]\npass = 1\n")
    refused = percert(*dro, "--out", tmp_path / "models", exit_code=1)
    assert "[training]: unknown key 'pass'; known: augment, batch" in refused.stderr


def test_the_recipes_that_come_with_percert_can_be_read():
    assert read_adversarial_recipe("adversarial-dataset").rounds.cluster_size == 5
    assert read_dro_recipe("dro").training == DROSettings()
    paper = read_adversarial_recipe("paper-adversarial-dataset")
    assert (paper.rounds.rounds, paper.rounds.learning_rate, paper.size) == (3, 0.1, 299)
    attack = parse_solver(paper.attack)
    assert (attack.cost, attack.lam, attack.step, attack.steps) == ("pieapp", 1.0, 0.1, 100)
    models = read_dro_recipe("paper-dro")
    assert (models.models, models.training.passes) == (50, 3)


def test_what_is_no_data_set_is_an_error(tmp_path, percert):
    refused = percert("train", "dro", tmp_path, "--out", tmp_path / "m", exit_code=1)
    assert refused.stderr.count("\n") == 1
    assert "found no dataset.json" in refused.stderr
    refused = percert(
        *("train", "adversarial-dataset", "--images", tmp_path / "no.parquet"),
        *("--out", tmp_path / "D"),
        exit_code=1,
    )
    assert "no such file or folder of images" in refused.stderr
