"""Labelled images: parquet files in the convention of Hugging Face datasets, and MNIST's idx files.

MNIST's idx files: grey digits and their labels.

Labelled images in a parquet file, in the convention of Hugging Face ``datasets``.
"""

import gzip
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.images.load import decode_image
from percert.tensors import Images

#: The codes of an idx file's types that hold bytes: unsigned ones.
UNSIGNED_BYTE = 0x08


@dataclass(frozen=True, eq=False)
class Digits:
    """``images`` ``(n, 3, 28, 28)`` in [0, 1], three equal channels; ``labels`` ``(n,)``."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor | slice) -> "Digits":
        """Some of them, in that order."""
        return Digits(self.images[index], self.labels[index])


def read_mnist(folder: Path, part: str = "t10k") -> Digits:
    """The digits of ``folder``: ``part`` is ``"t10k"`` (the test set) or ``"train"``.

    Reads ``PART-images-idx3-ubyte`` and ``PART-labels-idx1-ubyte``, gzipped (``.gz``) or not. The
    grey values are repeated in three channels, which is what an image is here; the SSIM of two such
    images is that of the grey ones. Raises ``ValueError`` where a file is missing, cut short or of
    another format, or where images and labels do not go together.
    """
    pixels = read_idx(_find(folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{folder}: expected images (n, height, width) and n labels, found "
            f"{tuple(pixels.shape)} and {tuple(labels.shape)}"
        )
    grey = pixels.float() / torch.full((), 255.0)
    return Digits(grey[:, None].repeat(1, 3, 1, 1), labels.long())


def read_idx(path: Path) -> Tensor:
    """The bytes of an idx file (``.gz`` or plain), in its shape, uint8.

    The format: two zero bytes, the type (8: unsigned bytes, the only one read here), the number of
    dimensions, each dimension in 4 bytes, most significant first, then the values in C order.
    Raises ``ValueError`` for anything else, and for a length that does not fit the header.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path}: expected an idx file, found other bytes at its start")
    kind, dimensions = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise ValueError(f"{path}: expected unsigned bytes (type 8), found type {kind}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{path}: expected a header of {start} bytes, found {len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != prod(shape):
        raise ValueError(
            f"{path}: expected {prod(shape)} values of shape {shape}, found {len(content) - start}"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).view(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise ValueError(f"{folder}: expected a file {name}.gz or {name}, found neither")


@dataclass(frozen=True)
class LabelledImages:
    """Encoded images of a file and their labels ``(n,)``; decoded when asked for."""

    encoded: list[bytes]
    labels: npt.NDArray[np.int64]
    source: str = "images"

    def decode(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """``(n, 3, h, w)`` float32 in [0, 1] of the images at ``indices``, which have one size.

        Read as by :func:`percert.images.load_image`, whose error names the row of a bad one.
        """
        return torch.stack(
            [decode_image(self.encoded[index], f"{self.source}: row {index}") for index in indices]
        )


def read_labelled_images(path: Path) -> LabelledImages:
    """Read columns ``image`` (a struct with ``bytes``) and ``label``. Needs pyarrow.

    Raises ``ValueError`` where a column is missing.
    """
    # An optional dependency, and slow to load.
    import pyarrow.parquet  # type: ignore[import-untyped]  # it ships no types

    table = pyarrow.parquet.read_table(path)
    missing = {"image", "label"} - set(table.column_names)
    if missing:
        raise ValueError(f"{path}: expected columns image and label, found {table.column_names}")
    encoded = [row["bytes"] for row in table.column("image").to_pylist()]
    labels = np.asarray(table.column("label").to_pylist(), dtype=np.int64)
    return LabelledImages(encoded, labels, str(path))


def semantic_triplets(
    labels: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """``(count, 3)`` indices: a reference, another of its class, and one of another class.

    References are drawn without repetition while they last. Raises ``ValueError`` where a class has
    one image only, or there is a single class.

    >>> reference, same, other = semantic_triplets(np.array([0, 0, 1, 1]), 1, 0)[0]
    >>> bool(reference != same), bool(same // 2 == reference // 2), bool(other // 2 == same // 2)
    (True, True, False)
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        raise ValueError(
            f"labels: expected at least 2 classes of at least 2 images, "
            f"found {len(classes)} and {sizes.min() if len(sizes) else 0}"
        )
    generator = np.random.default_rng(seed)
    rounds = -(-count // len(labels))
    references = np.concatenate([generator.permutation(len(labels)) for _ in range(rounds)])
    triplets = []
    for reference in references[:count]:
        alike = np.flatnonzero(labels == labels[reference])
        same = generator.choice(alike[alike != reference])
        other = generator.choice(np.flatnonzero(labels != labels[reference]))
        triplets.append((reference, same, other))
    return np.array(triplets, dtype=np.int64).reshape(count, 3)
