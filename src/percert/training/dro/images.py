"""Images to train on, of one size, decoded when asked for."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from percert.data.labelled_images import read_labelled_images, read_mnist
from percert.images import find_images, load_image, round_to_8bit
from percert.images.walk import listed_file
from percert.tensors import Images
from percert.training.dro.weighting import Bytes, Ints


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """``labels`` ``(n,)`` from 0; ``read(rows)`` gives uint8 ``(len(rows), 3, h, w)``."""

    labels: Ints
    size: tuple[int, int]
    read: Callable[[Ints], Bytes]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    def select(self, rows: Ints) -> "TrainingImages":
        """The images of ``rows``, in that order."""
        return TrainingImages(self.labels[rows], self.size, lambda some: self.read(rows[some]))

    def some(self, count: int, seed: int) -> "TrainingImages":
        """``count`` of them, drawn without replacement, in their order; all where there are fewer.

        >>> images = memory_images(np.zeros((5, 3, 4, 4), np.uint8), np.arange(5))
        >>> len(images.some(3, 0)), images.some(9, 0) is images
        (3, True)
        """
        if count >= len(self):
            return self
        return self.select(
            np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        )


def memory_images(pixels: Bytes, labels: Ints) -> TrainingImages:
    """Images that are in memory: uint8 ``(n, 3, h, w)``."""
    height, width = pixels.shape[2:]
    return TrainingImages(np.asarray(labels, np.int64), (height, width), lambda rows: pixels[rows])


def read_training_images(
    path: Path, *, size: int = 0, root: Path | None = None, split: str = "train"
) -> TrainingImages:
    """The labelled images in ``path``, each decoded when it is drawn.

    A parquet file with columns ``image`` and ``label``; a CSV with columns image (a file in
    ``root``, which is the CSV's own folder unless given), label and perhaps split, of which
    ``split`` counts; a folder with MNIST's idx files (the training part where there is one); or a
    folder with one folder of images a class, in the order of their names. With a ``size`` images
    are resized until their short side has it, and the square in the middle is taken; 0 takes them
    as they are. Raises ``ValueError`` for anything else, and for images of several sizes.
    """
    if path.suffix.lower() == ".csv" and path.is_file():
        return _files(*_listed(path, root or path.parent, split), size)
    if path.is_file():
        return _parquet(path, size)
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder of images")
    for part in ("train", "t10k"):
        if any(path.glob(f"{part}-images-idx3-ubyte*")):
            digits = read_mnist(path, part)
            found = memory_images(to_bytes(digits.images), digits.labels.numpy())
            return found if not size else _resized(found, size)
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    files = [(file, label) for label, one in enumerate(folders) for file in find_images([one])]
    if not files:
        raise ValueError(f"{path}: expected a folder of images for each class, found none")
    return _files([file for file, _ in files], np.array([label for _, label in files]), size)


def _resized(found: TrainingImages, size: int) -> TrainingImages:
    def read(rows: Ints) -> Bytes:
        return to_bytes(centre_square(to_float(found.read(rows), torch.device("cpu")), size))

    return TrainingImages(found.labels, (size, size), read)


def centre_square(images: Images, size: int) -> Images:
    """The middle of images ``(n, 3, h, w)`` whose short side is made ``size``, in 8-bit levels.

    >>> centre_square(torch.rand(1, 3, 20, 30), 10).shape
    torch.Size([1, 3, 10, 10])
    """
    height, width = images.shape[-2:]
    scale = size / min(height, width)
    new = (max(size, round(height * scale)), max(size, round(width * scale)))
    if new != (height, width):
        images = F.interpolate(images, new, mode="bilinear", antialias=True)
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    return round_to_8bit(images[..., top : top + size, left : left + size].clamp(0, 1))


def _parquet(path: Path, size: int) -> TrainingImages:
    found = read_labelled_images(path)
    if not len(found.labels):
        raise ValueError(f"{path}: holds no images")
    return _decoded(
        lambda row: found.decode(np.array([row]))[0],
        lambda row: f"{path}: row {row}",
        _checked(found.labels, path),
        size,
    )


def _files(files: list[Path], labels: Ints, size: int) -> TrainingImages:
    return _decoded(lambda row: load_image(files[row]), lambda row: str(files[row]), labels, size)


def _listed(path: Path, root: Path, split: str) -> tuple[list[Path], Ints]:
    """The files and labels of a list; where it says splits, of one of them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for column in ("image", "label"):
        if not rows or column not in rows[0]:
            raise ValueError(f"{path}: expected rows with image and label")
    if "split" in rows[0]:
        rows = [row for row in rows if row["split"] == split]
    if not rows:
        raise ValueError(f"{path}: no row of the split {split!r}")
    for number, row in enumerate(rows, 1):
        if not (row["label"] or "").isdigit():
            raise ValueError(
                f"{path}: label: expected class indices of at least 0, found {row['label']!r} for "
                f"{row['image']!r} (row {number} of the split)"
            )
    files = [listed_file(root, row["image"]) for row in rows]
    return files, np.array([int(row["label"]) for row in rows], np.int64)


def _decoded(
    decode: Callable[[int], Images], name: Callable[[int], str], labels: Ints, size: int
) -> TrainingImages:
    """Images that are decoded one by one, when they are drawn."""
    height, width = (size, size) if size else tuple(decode(0).shape[1:])

    def read(rows: Ints) -> Bytes:
        pixels = np.empty((len(rows), 3, height, width), np.uint8)
        for at, row in enumerate(map(int, rows)):
            image = decode(row)
            if size:
                image = centre_square(image[None], size)[0]
            elif image.shape[1:] != (height, width):
                raise ValueError(
                    f"{name(row)}: expected {height} x {width} pixels as the others, found "
                    f"{tuple(image.shape[1:])}: images of several sizes take a size"
                )
            pixels[at] = to_bytes(image)
        return pixels

    return TrainingImages(labels, (height, width), read)


def _checked(labels: Ints, path: Path) -> Ints:
    if labels.min() < 0:
        raise ValueError(f"{path}: expected labels of at least 0, found {labels.min()}")
    return labels


def to_float(images: Bytes, device: torch.device) -> Images:
    """8-bit images as floats in [0, 1], exactly as a decoded file gives them."""
    pixels = torch.from_numpy(images).to(device).float()
    return pixels / torch.full((), 255.0, device=device)


def to_bytes(images: Images) -> Bytes:
    """Images in whole 8-bit levels as uint8 ``(n, 3, h, w)``."""
    found: Bytes = (images.detach() * 255).round().to(torch.uint8).cpu().numpy()
    return found
