"""Images to train on, from every kind of place."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

import percert.training.dro.images as images
from percert.training.dro.images import (
    centre_square,
    memory_images,
    read_training_images,
    to_bytes,
    to_float,
)


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


def photographs(folder):
    """Three sizes, as ImageNet's files lie and are called; each of one colour."""
    generator = np.random.default_rng(3)
    colours = {}
    for number, (name, size) in enumerate(
        {"n01_1": (40, 60), "n01_2": (70, 50), "n02_9": (48, 48), "plain": (90, 41)}.items()
    ):
        colour = generator.integers(0, 256, 3, dtype=np.uint8)
        place = folder / ("" if name == "plain" or number == 1 else name.partition("_")[0])
        place.mkdir(exist_ok=True, parents=True)
        ending = ".JPEG" if number == 0 else ".png"
        pixels = np.broadcast_to(colour, (*size, 3)).copy()
        Image.fromarray(pixels).save(place / f"{name}{ending}", quality=100)
        colours[name] = colour
    return colours


def test_a_list_of_images_of_several_sizes_is_resized(tmp_path):
    colours = photographs(tmp_path / "photos")
    path = tmp_path / "images.csv"
    path.write_text(
        "image,group,label,split\nn01_1,DEU,0,train\nn01_2,FRA,0,val\nn02_9,FRA,1,train\n"
        "plain.png,KEN,4,train\n"
    )
    found = read_training_images(path, size=32, root=tmp_path / "photos")
    assert (found.labels.tolist(), found.size, found.classes) == ([0, 1, 4], (32, 32), 5)
    read = found.read(np.array([2, 0, 1]))
    assert read.shape == (3, 3, 32, 32)
    for image, name in zip(read, ("plain", "n01_1", "n02_9"), strict=True):
        assert np.abs(image.astype(int) - colours[name][:, None, None]).max() <= 2  # JPEG
    held = read_training_images(path, size=32, root=tmp_path / "photos", split="val")
    assert len(held) == 1
    with pytest.raises(ValueError, match="images of several sizes take a size"):
        read_training_images(path, root=tmp_path / "photos").read(np.arange(3))
    with pytest.raises(ValueError, match="no row of the split 'test'"):
        read_training_images(path, split="test")
    path.write_text("image,label\nplain.png,\n")
    with pytest.raises(ValueError, match=r"label: expected class indices .* 'plain.png'"):
        read_training_images(path)


def test_the_middle_of_a_resized_image_is_what_pillow_makes_of_it():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    floats = to_float(pixels.transpose(2, 0, 1)[None], torch.device("cpu"))
    mine = to_bytes(centre_square(floats, 24))
    other = np.asarray(Image.fromarray(pixels).resize((36, 24), Image.Resampling.BILINEAR))
    assert np.abs(mine[0].transpose(1, 2, 0).astype(int) - other[:, 6:30]).max() <= 1


def test_only_what_is_drawn_is_decoded(tmp_path, monkeypatch):
    photographs(tmp_path / "photos")
    path = tmp_path / "images.csv"
    path.write_text("image,label\nn01_1,0\nn01_2,0\nn02_9,1\n")
    found = read_training_images(path, size=16, root=tmp_path / "photos")
    opened = []
    load = images.load_image
    monkeypatch.setattr(images, "load_image", lambda file: opened.append(file.stem) or load(file))
    found.read(np.array([2]))
    assert opened == ["n02_9"]
