"""The photographs that are measured on, and where they lie."""

import os
from pathlib import Path

from PIL import Image

from percert.evaluation.copies.pictures import as_arrays, as_tensor

__all__ = ["DEFAULT_DATA", "as_arrays", "as_tensor", "compatible", "samples"]

DEFAULT_DATA = Path(os.environ.get("PERCERT_DATA", "../shared/data"))


def compatible(data: Path, limit: int | None = None) -> list[Image.Image]:
    """The photographs of the ImageNet-Compatible set in ``data``, RGB, sorted by file name."""
    return _load(data / "imagenet-compatible" / "images", "*.png", limit)


def samples(data: Path, limit: int | None = None) -> list[Image.Image]:
    """The ImageNet photographs of ``data``, RGB, sorted by file name. Metrics train on them."""
    return _load(data / "imagenet-samples", "*.JPEG", limit)


def _load(folder: Path, pattern: str, limit: int | None) -> list[Image.Image]:
    paths = sorted(folder.glob(pattern))[:limit]
    if not paths:
        raise ValueError(f"{folder}: expected photographs {pattern}, found none (see --data)")
    images = []
    for path in paths:
        with Image.open(path) as file:
            images.append(file.convert("RGB"))
    return images
