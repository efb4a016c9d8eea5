"""MNIST's idx files, and the small classifier of its digits."""

import gzip
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from percert.data.labelled_images import read_idx, read_mnist
from percert.models.small_resnet import MnistCNN, train_mnist_cnn


def idx(values: Tensor) -> bytes:
    """The idx file of a uint8 tensor, written after the format's description."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + bytes(values.flatten().tolist())


def write_digits(folder: Path, count: int = 3) -> Tensor:
    pixels = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
    labels = torch.arange(count, dtype=torch.uint8)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    return pixels


def test_digits_come_back_grey_in_three_channels(tmp_path: Path) -> None:
    pixels = write_digits(tmp_path)
    digits = read_mnist(tmp_path)
    assert len(digits) == 3
    assert digits.labels.tolist() == [0, 1, 2]
    assert digits.images.dtype == torch.float32
    for channel in range(3):
        torch.testing.assert_close(digits.images[:, channel] * 255, pixels.float())
    assert digits.select(torch.tensor([2, 0])).labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG", "expected an idx file"),
        (b"", "expected an idx file"),
        (b"\0\0\x0d\1\0\0\0\1\0\0\0\0", "type 8.*found type 13"),
        (b"\0\0\x08\1\0\0\0\5abc", "expected 5 values.*found 3"),
        (b"\0\0\x08\3\0\0", "header of 16 bytes, found 6"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_a_torn_archive_and_a_missing_file_are_named(tmp_path: Path) -> None:
    torn = tmp_path / "t10k-images-idx3-ubyte.gz"
    torn.write_bytes(gzip.compress(idx(torch.zeros(2, 28, 28, dtype=torch.uint8)))[:-9])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: cannot be read"):
        read_mnist(tmp_path)
    with pytest.raises(ValueError, match="expected a file train-images-idx3-ubyte"):
        read_mnist(tmp_path, "train")


def test_labels_must_be_as_many_as_images(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.zeros(2, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="n labels"):
        read_mnist(tmp_path)


def test_the_published_test_set_is_read_whole(shared_data: Path) -> None:
    folder = shared_data / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST at {folder}")
    digits = read_mnist(folder)
    assert digits.images.shape == (10_000, 3, 28, 28)
    assert digits.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(digits.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_the_classifier_learns_repeats_itself_and_leaves_the_random_numbers_alone() -> None:
    """Two classes: a bright left half or a bright right half."""
    labels = torch.arange(40) % 2
    images = 0.2 * torch.rand(40, 3, 28, 28)
    images[labels == 0, ..., :14] += 0.6
    images[labels == 1, ..., 14:] += 0.6
    before = torch.get_rng_state()
    model, again = (train_mnist_cnn(images, labels, epochs=5, batch=10) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (model(images).argmax(1) == labels).all()
    assert torch.equal(model(images), again(images))
    assert not model.training


def test_grey_slopes_are_the_same_in_every_channel() -> None:
    images = torch.rand(2, 1, 28, 28).repeat(1, 3, 1, 1).requires_grad_(True)
    (slope,) = torch.autograd.grad(MnistCNN()(images).square().sum(), images)
    assert torch.equal(slope[:, 0], slope[:, 1])
    with pytest.raises(ValueError, match="28 x 28"):
        MnistCNN()(torch.zeros(1, 3, 32, 32))
