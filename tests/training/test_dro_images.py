"""Images to train on, from every kind of place."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from percert.training.dro.images import memory_images, read_training_images


def test_a_folder_a_class(tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    for number, name in enumerate(["cat/b", "cat/a", "dog/a", "ant/z"]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[number]).save(path)
    found = read_training_images(tmp_path)
    assert found.labels.tolist() == [0, 1, 1, 2]  # ant, cat, cat, dog
    assert (found.size, found.classes) == ((5, 6), 3)
    read = found.read(np.array([3, 1]))
    assert np.array_equal(read, pixels[[2, 1]].transpose(0, 3, 1, 2))
    Image.fromarray(pixels[0][:4]).save(tmp_path / "cat" / "c.png")
    with pytest.raises(ValueError, match="expected 5 x 6 pixels as the others"):
        read_training_images(tmp_path).read(np.arange(5))


def test_mnist(tmp_path):
    digits = np.arange(2 * 28 * 28, dtype=np.uint32).reshape(2, 28, 28).astype(np.uint8)
    for name, header, values in (
        ("images-idx3", struct.pack(">4B3I", 0, 0, 8, 3, 2, 28, 28), digits),
        ("labels-idx1", struct.pack(">4B1I", 0, 0, 8, 1, 2), np.array([7, 1], np.uint8)),
    ):
        content = gzip.compress(header + values.tobytes())
        (tmp_path / f"t10k-{name}-ubyte.gz").write_bytes(content)
    found = read_training_images(tmp_path)
    assert found.labels.tolist() == [7, 1]
    assert np.array_equal(found.read(np.arange(2)), digits[:, None].repeat(3, 1))


def test_some_of_them():
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    found = memory_images(pixels, np.arange(10)).some(4, seed=1)
    assert len(found) == 4
    assert (found.read(np.arange(4))[:, 0, 0, 0] == found.labels).all()
    assert (np.diff(found.labels) > 0).all()


def test_other_places_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a folder of images for each class"):
        read_training_images(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        read_training_images(tmp_path / "none")
