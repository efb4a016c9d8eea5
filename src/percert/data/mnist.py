"""MNIST's idx files: grey digits and their labels."""

import gzip
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
