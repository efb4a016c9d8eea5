"""Images to train on, of one size, decoded when asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from percert.data.labelled_images import read_labelled_images, read_mnist
from percert.images import find_images, load_image
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


def read_training_images(path: Path) -> TrainingImages:
    """The labelled images in ``path``.

    A parquet file with columns ``image`` and ``label``; a folder with MNIST's idx files (the
    training part where there is one); or a folder with one folder of images a class, in the order
    of their names. Raises ``ValueError`` for anything else, and for images of several sizes.
    """
    if path.is_file():
        return _parquet(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder of images")
    for part in ("train", "t10k"):
        if any(path.glob(f"{part}-images-idx3-ubyte*")):
            digits = read_mnist(path, part)
            return memory_images(to_bytes(digits.images), digits.labels.numpy())
    return _folders(path)


def _parquet(path: Path) -> TrainingImages:
    found = read_labelled_images(path)
    if not len(found.labels):
        raise ValueError(f"{path}: holds no images")
    first = found.decode(np.zeros(1, np.int64))
    size = (first.shape[2], first.shape[3])

    def read(rows: Ints) -> Bytes:
        try:
            pixels = found.decode(rows)
        except ValueError as error:
            raise ValueError(f"{path}: images of several sizes ({error})") from None
        return to_bytes(pixels)

    return TrainingImages(_checked(found.labels, path), size, read)


def _folders(path: Path) -> TrainingImages:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    files = [(file, label) for label, one in enumerate(folders) for file in find_images([one])]
    if not files:
        raise ValueError(f"{path}: expected a folder of images for each class, found none")
    height, width = load_image(files[0][0]).shape[1:]

    def read(rows: Ints) -> Bytes:
        pixels = np.empty((len(rows), 3, height, width), np.uint8)
        for at, row in enumerate(rows):
            image = load_image(files[int(row)][0])
            if image.shape[1:] != (height, width):
                raise ValueError(
                    f"{files[int(row)][0]}: expected {height} x {width} pixels as the others, "
                    f"found {tuple(image.shape[1:])}"
                )
            pixels[at] = to_bytes(image)
        return pixels

    labels = np.array([label for _, label in files], np.int64)
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
