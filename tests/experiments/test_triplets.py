"""A tiny run of the triplets benchmark, recomputed slowly from the images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import tables
from experiments.photographs import as_tensor
from experiments.triplets import distortions
from percert import certify, create_metric
from percert.data.distortions import DISTORTIONS, distortion_triplet

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'train'")


@pytest.fixture(scope="module")
def with_classes(data: Path, photographs: list[Image.Image]) -> Path:
    """Four 32 px photographs of two classes, beside the others."""
    import pyarrow.parquet

    rows = []
    for image in photographs:
        buffer = io.BytesIO()
        image.resize((32, 32)).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    folder = data / "tiny-imagenet-32"
    folder.mkdir()
    table = pyarrow.table({"image": rows, "label": [0, 0, 1, 1]})
    pyarrow.parquet.write_table(table, folder / "val.parquet")
    return data


def test_scores_as_recomputed(
    with_classes: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    distortions.main(
        [
            "--data",
            str(with_classes),
            "--out",
            str(tmp_path),
            "--semantic",
            "6",
            "--threads",
            "1",
            "--metric",
            "thumbnail-8",
            "--metric",
            "ssim",
        ]
    )
    result = json.loads((tmp_path / "triplets-thumbnail-8.json").read_text())
    metric = create_metric("thumbnail-8", device="cpu")
    right, proven, paper = [], [], []
    for distortion in DISTORTIONS:
        for place, image in enumerate(photographs):
            triplet = distortion_triplet(image, distortion, 0, place)
            reference, mild, strong = (
                as_tensor([one]) for one in (triplet.reference, triplet.milder, triplet.stronger)
            )
            right.append(metric(reference, mild).item() < metric(reference, strong).item())
            judged = certify.twoafc(metric, reference, mild, strong)
            eps = 64 / 299
            proven.append(judged.decision.item() == 0 and judged.radius.item() > eps)
            paper.append(judged.decision.item() == 0 and judged.radius_paper.item() > eps)
    together = result["distortions"][0]
    assert together["triplets"] == len(right) == 4 * len(DISTORTIONS)
    assert together["natural"] == pytest.approx(np.mean(right))
    at_one = next(entry for entry in together["certified"] if entry["eps"] == 1.0)
    assert at_one["ours"] == pytest.approx(np.mean(proven))
    assert at_one["paper"] == pytest.approx(np.mean(paper))
    assert result["semantic"]["triplets"] == 6
    assert result["semantic_side"] == 32
    structure = json.loads((tmp_path / "triplets-ssim.json").read_text())
    assert structure["distortions"][0]["certified"] == []
    text = tables.report(tmp_path)
    assert f"| thumbnail-8 | {together['natural']:.3f} | " in text
    assert "| none |" in text
