"""Parquet files of labelled images, and triplets by class."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.images.pictures import encode, every_kind, oriented, smooth

from percert.data.labelled_images import read_labelled_images, semantic_triplets
from percert.images import ImageError, load_image


def test_reads_images_and_labels(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'train'")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = []
    for value in (0, 51, 255):
        buffer = io.BytesIO()
        Image.new("L", (4, 3), value).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": "x.png"})
    path = tmp_path / "some.parquet"
    parquet.write_table(pyarrow.table({"image": rows, "label": [7, 8, 7]}), path)
    images = read_labelled_images(path)
    assert images.labels.tolist() == [7, 8, 7]
    pixels = images.decode(np.array([2, 1]))
    assert pixels.shape == (2, 3, 3, 4)
    assert pixels[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.2])
    parquet.write_table(pyarrow.table({"label": [1]}), path)
    with pytest.raises(ValueError, match="expected columns image and label"):
        read_labelled_images(path)


def test_triplets_hold_two_of_a_class_and_one_of_another() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 60)
    triplets = semantic_triplets(labels, 150, 0)
    assert triplets.shape == (150, 3)
    reference, same, other = triplets.T
    assert (labels[reference] == labels[same]).all()
    assert (reference != same).all()
    assert (labels[reference] != labels[other]).all()
    # Every image is a reference twice before one is so three times.
    assert set(np.bincount(reference, minlength=60)) == {2, 3}
    assert (semantic_triplets(labels, 150, 0) == triplets).all()
    assert (semantic_triplets(labels, 150, 1) != triplets).any()


def test_classes_that_allow_no_triplet_are_named() -> None:
    with pytest.raises(ValueError, match="found 1 and 3"):
        semantic_triplets(np.array([4, 4, 4]), 2, 0)
    with pytest.raises(ValueError, match="found 2 and 1"):
        semantic_triplets(np.array([4, 4, 3]), 2, 0)


def test_pixels_are_those_of_every_other_reader(tmp_path: Path) -> None:
    """Orientation, transparency and 16 bits, as load_image reads them."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    encoded = [every_kind()[name] for name in ("alpha.png", "palette.png", "grey16.png")]
    turned = Image.fromarray(smooth()).rotate(90, expand=True)
    encoded.append(encode(turned, "PNG", exif=oriented(6)))
    rows = [{"image": {"bytes": data}, "label": 0} for data in [*encoded, b"no image"]]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "some.parquet")
    found = read_labelled_images(tmp_path / "some.parquet")
    for row, data in enumerate(encoded):
        (tmp_path / "one").write_bytes(data)
        assert torch.equal(found.decode(np.array([row]))[0], load_image(tmp_path / "one"))
    with pytest.raises(ImageError, match=r"some\.parquet: row 4: not an image"):
        found.decode(np.array([4]))
