"""A tiny run on made-up photographs: scores in order, taken up again, in a table and a picture."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.triplets import attacked

pytest.importorskip("pyarrow", reason="needs the extra 'report'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")


@pytest.fixture
def with_classes(data: Path) -> Path:
    """The photographs, and Tiny ImageNet's layout with two classes of two images."""
    import pyarrow
    from pyarrow import parquet

    folder = data / "tiny-imagenet-32"
    folder.mkdir(exist_ok=True)
    encoded = []
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": f"{i}.png"})
    parquet.write_table(
        pyarrow.table({"image": encoded, "label": [0, 0, 1, 1]}), folder / "val.parquet"
    )
    return data


def test_a_tiny_run(with_classes: Path, tmp_path: Path) -> None:
    arguments = [
        *("--data", str(with_classes), "--out", str(tmp_path), "--work", str(tmp_path / "work")),
        *("--metric", "thumbnail", "--photographs", "1", "--classes", "2", "--side", "24"),
        *("--steps", "3", "--queries", "3"),
    ]
    attacked.main(arguments)
    found = json.loads((tmp_path / "twoafc-attacked.json").read_text())
    assert [part["triplets"] for part in found["parts"]] == ["distortions", "classes"]
    for part in found["parts"]:
        scores = part["scores"]
        for entry in scores["attacked"]:
            assert entry["certified"] <= entry["worst"] <= scores["natural"]
    table = (tmp_path / "twoafc-attacked.md").read_text()
    assert "## Distortions, 4 triplets (thumbnail 24 px)" in table
    assert "certified 36/255" in table
    assert (tmp_path / "twoafc-attacked.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "work" / "thumbnail-classes" / "records.parquet").read_bytes()
    attacked.main(arguments)
    again = json.loads((tmp_path / "twoafc-attacked.json").read_text())
    assert again["parts"] == found["parts"]
    assert (tmp_path / "work" / "thumbnail-classes" / "records.parquet").read_bytes() == before
