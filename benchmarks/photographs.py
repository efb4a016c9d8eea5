"""The photographs that are measured on, and where they lie."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

DEFAULT_DATA = Path(os.environ.get("PERCERT_DATA", "../shared/data"))


def compatible(data: Path, limit: int | None = None) -> list[Image.Image]:
    """The photographs of the ImageNet-Compatible set in ``data``, RGB, sorted by file name."""
    return _load(data / "imagenet-compatible" / "images", "*.png", limit)


def samples(data: Path, limit: int | None = None) -> list[Image.Image]:
    """The ImageNet photographs of ``data``, RGB, sorted by file name. Metrics train on them."""
    return _load(data / "imagenet-samples", "*.JPEG", limit)


def as_tensor(images: list[Image.Image]) -> Tensor:
    """RGB pillow images of one size as ``(n, 3, h, w)`` float32 in [0, 1]."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def as_arrays(images: Tensor) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """``(n, 3, h, w)`` in [0, 1] as 8-bit ``(h, w, 3)`` arrays, rounded to nearest."""
    # One by one: buffers of a whole batch would come fresh from the system every time.
    return [
        np.ascontiguousarray((255 * image).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0))
        for image in images.detach()
    ]


def _load(folder: Path, pattern: str, limit: int | None) -> list[Image.Image]:
    paths = sorted(folder.glob(pattern))[:limit]
    if not paths:
        raise ValueError(f"{folder}: expected photographs {pattern}, found none (see --data)")
    images = []
    for path in paths:
        with Image.open(path) as file:
            images.append(file.convert("RGB"))
    return images
