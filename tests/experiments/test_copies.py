"""A tiny run of the copies benchmark, recomputed slowly from the images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import tables
from experiments.copies import edits as copies
from experiments.photographs import as_tensor
from percert import certify, create_metric
from percert.data.copy_edits import USUAL_EDITS, find_edit
from percert.evaluation.copies.pictures import background_of, edited
from percert.evaluation.copies.rates import group_rates, pairs


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("results")
    copies.main(
        [
            "--data",
            str(data),
            "--out",
            str(out),
            "--attacked",
            "2",
            "--steps",
            "3",
            "--threads",
            "1",
            "--metric",
            "thumbnail-8",
            "--metric",
            "ssim",
        ]
    )
    return out


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "copies-thumbnail-8.json").read_text())
    return found


def test_found_and_certified_as_recomputed(
    result: dict[str, Any], photographs: list[Image.Image]
) -> None:
    metric = create_metric("thumbnail-8", device="cpu")
    originals = as_tensor(photographs)
    count = len(photographs)
    usual = result["groups"][0]
    threshold = usual["points"][1]["threshold"]
    found, proven, false = [], [], []
    for edit in USUAL_EDITS:
        images = as_tensor(edited(photographs, edit, 0, range(count)))
        certificate = certify.copies(metric, originals, images, threshold)
        found += certificate.decision.tolist()
        scale = np.sqrt(images[0].numel()) / np.sqrt(3 * 299 * 299)
        proven += (certificate.decision & (certificate.radius > 32 * scale)).tolist()
        for shift in range(1, count):
            false += (metric(originals.roll(shift, 0), images) <= threshold).tolist()
    assert usual["copies"] == len(found) == len(USUAL_EDITS) * count
    assert usual["negatives"] == len(false) == len(USUAL_EDITS) * count * (count - 1)
    assert usual["points"][1]["tpr"] == pytest.approx(np.mean(found))
    assert usual["points"][1]["fpr_found"] == pytest.approx(np.mean(false))
    rates = {entry["eps"]: entry["rate"] for entry in usual["certified"]}
    assert rates[32.0] == pytest.approx(np.mean(proven))
    assert 0 < rates[32.0] < rates[36 / 255] <= usual["points"][1]["tpr"]


def test_attacks_find_what_is_certified(result: dict[str, Any]) -> None:
    attacked = result["attacked"]
    assert attacked["photographs"] == 2
    assert attacked["threshold"] == result["groups"][0]["points"][1]["threshold"]
    rates = [entry["rate"] for entry in attacked["budgets"]]
    assert attacked["natural"] >= rates[0] >= rates[1] >= rates[2]
    for entry in attacked["budgets"]:
        assert entry["certified"] <= entry["rate"]


def test_conditions_are_stated(result: dict[str, Any]) -> None:
    stated = result["conditions"]
    assert stated["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert stated["threads"] == 1
    assert stated["seed"] == 0
    assert stated["commit"]


def test_tables_hold_the_numbers(folder: Path, result: dict[str, Any]) -> None:
    text = tables.report(folder)
    usual = result["groups"][0]
    rates = [f"{point['tpr']:.3f}" for point in usual["points"]]
    assert f"| thumbnail-8 | {' | '.join(rates)} | {usual['micro_average_precision']:.3f} |" in text
    assert text.index("| thumbnail-8") < text.index("| ssim-24")
    with pytest.raises(ValueError, match="found none"):
        tables.report(folder / "nowhere")


def test_a_collage_is_no_negative_of_its_background() -> None:
    distances = np.arange(9.0).reshape(3, 3)
    plain, others = pairs(distances, find_edit("mirror"))
    assert plain.tolist() == [0, 4, 8]
    assert others.tolist() == [1, 2, 3, 5, 6, 7]
    _, others = pairs(distances, find_edit("collage-70"))
    assert [background_of(i, 3) for i in range(3)] == [1, 2, 0]
    assert others.tolist() == [2, 3, 7]


def test_groups_share_one_threshold() -> None:
    edits = [find_edit("mirror"), find_edit("grey")]
    near, far = np.full((3, 3), 0.5), np.full((3, 3), 0.9)
    np.fill_diagonal(near, 0.1)
    np.fill_diagonal(far, 0.6)
    rates = group_rates("hard", edits, {"mirror": near, "grey": far}, {})
    # The negatives at 0.5 belong to one edit, and hold for the other as well.
    assert rates.points[0].tpr == 0.5
    assert [edit.tpr[0] for edit in rates.edits] == [1.0, 0.0]
    assert rates.certified == []
