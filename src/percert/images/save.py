"""Rounding to the 256 levels that an 8-bit file can hold, and lossless, atomic saving."""

import os
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from percert.check import check_images
from percert.files import replacing
from percert.images.formats import LOSSLESS, ImageError


def round_to_8bit(images: Tensor) -> Tensor:
    """The nearest values k/255, k = 0 ... 255, of a float tensor of any shape, in its own dtype.

    These are, to the bit, the values that :func:`percert.images.load_image` gives for an 8-bit
    file, on every device. The gradient is zero almost everywhere.

    >>> 255 * round_to_8bit(torch.tensor([-0.1, 0.1, 0.5, 1.2]))
    tensor([  0.,  26., 128., 255.])
    """
    levels = (images.clamp(0, 1) * 255).round()
    # On a GPU, division by a Python number multiplies by its reciprocal and misses the last bit.
    return levels / torch.full((), 255.0, dtype=images.dtype, device=images.device)


def save_image(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Write ``(3, h, w)`` sRGB in [0, 1] as a lossless 8-bit file: PNG, WebP, BMP or TIFF.

    The suffix chooses the format. Values are rounded to k/255; an image of such values reads back
    bit-identical with :func:`percert.images.load_image`. The file appears whole or not at all:
    it is written beside ``path`` under another name, and then renamed over it.

    Raises :class:`ImageError` for a suffix that is lossy or unknown and for a file that cannot be
    written, ``ValueError`` for a tensor that is not an image.

    >>> save_image(torch.zeros(3, 2, 2), "copy.jpg")
    Traceback (most recent call last):
    percert.images.formats.ImageError: copy.jpg: cannot be saved without loss as '.jpg'; use .png, \
.webp, .bmp, .tif or .tiff
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in LOSSLESS:
        *others, last = LOSSLESS
        raise ImageError(
            path, f"cannot be saved without loss as {suffix!r}; use {', '.join(others)} or {last}"
        )
    if image.ndim != 3:
        raise ValueError(f"image: expected shape (3, h, w), found {tuple(image.shape)}")
    check_images(image.detach()[None], "image")
    levels = (255 * round_to_8bit(image.detach().float())).round().to(torch.uint8)
    picture = Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())
    lossless = {"lossless": True} if suffix == ".webp" else {}
    try:
        path.parent.stat()  # a folder that is missing is an error, and not made
        with replacing(path, sync=False) as waiting, open(waiting, "xb") as stream:
            picture.save(stream, LOSSLESS[suffix], **lossless)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(path, f"cannot be written ({reason})") from error
