"""Lossless, atomic saving."""

import os
import secrets
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from percert.check import check_images
from percert.images.error import ImageError
from percert.images.formats import LOSSLESS
from percert.images.rounding import round_to_8bit


def save_image(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Write ``(3, h, w)`` sRGB in [0, 1] as a lossless 8-bit file: PNG, WebP, BMP or TIFF.

    The suffix chooses the format. Values are rounded to k/255; an image of such values reads back
    bit-identical with :func:`percert.images.load_image`. The file appears whole or not at all:
    it is written beside ``path`` under another name, and then renamed over it.

    Raises :class:`ImageError` for a suffix that is lossy or unknown and for a file that cannot be
    written, ``ValueError`` for a tensor that is not an image.

    >>> save_image(torch.zeros(3, 2, 2), "copy.jpg")
    Traceback (most recent call last):
    percert.images.error.ImageError: copy.jpg: cannot be saved without loss as '.jpg'; use .png, \
.webp, .bmp, .tif or .tiff
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in LOSSLESS:
        *others, last = LOSSLESS
        raise ImageError(
            path,
            f"cannot be saved without loss as {suffix!r}; use {', '.join(others)} or {last}",
        )
    if image.ndim != 3:
        raise ValueError(f"image: expected shape (3, h, w), found {tuple(image.shape)}")
    check_images(image.detach()[None], "image")
    levels = (255 * round_to_8bit(image.detach().float())).round().to(torch.uint8)
    picture = Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())
    # Hidden and without the suffix, so that no search for images finds it half-written.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as stream:
            picture.save(
                stream, LOSSLESS[suffix], **({"lossless": True} if suffix == ".webp" else {})
            )
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(path, f"cannot be written ({reason})") from error
    finally:
        temporary.unlink(missing_ok=True)
