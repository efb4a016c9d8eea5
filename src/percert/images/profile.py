"""Embedded ICC colour profiles."""

import io
from functools import cache, lru_cache
from itertools import product

import numpy as np
from PIL import Image

#: A profile that moves no colour of the probe by more 8-bit levels than this is taken for sRGB.
SAME_COLOUR = 2


def to_srgb(image: Image.Image, transform: object | None) -> Image.Image:
    """An ``L``, ``RGB`` or ``CMYK`` image as sRGB, by what :func:`srgb_transform` gave.

    Without one, CMYK is converted by pillow's plain (1 - ink)(1 - key).

    >>> to_srgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), None).getpixel((0, 0))
    (255, 0, 0)
    """
    if transform is not None:
        from PIL import ImageCms

        assert isinstance(transform, ImageCms.ImageCmsTransform)
        try:
            converted = ImageCms.applyTransform(image, transform)
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


@lru_cache(maxsize=8)
def srgb_transform(profile: bytes | None, mode: str) -> object | None:
    """From an embedded ICC ``profile`` to sRGB, for images of a ``mode``; ``None`` for none.

    Relative colorimetric with black point compensation, as browsers show it. A profile that is
    sRGB in effect leaves the pixels as they are, to the bit. A profile that is broken, that does
    not fit the image's mode, or that no ImageCms is there to apply, is ignored, as viewers do.

    >>> srgb_transform(b"no profile", "RGB")
    """
    if not profile:
        return None
    from PIL import ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if mode != "CMYK" and _is_identity(transform, mode):
            return None
    except (ImageCms.PyCMSError, OSError, ImportError):
        return None
    return transform


def _is_identity(transform: object, mode: str) -> bool:
    from PIL.ImageCms import ImageCmsTransform, applyTransform

    assert isinstance(transform, ImageCmsTransform)
    probe = _probe(mode)
    moved = applyTransform(probe, transform)
    if moved is None:
        return False
    before = np.asarray(probe.convert("RGB"), dtype=np.int16)
    after = np.asarray(moved, dtype=np.int16)
    return int(np.abs(before - after).max()) <= SAME_COLOUR


@cache
def _probe(mode: str) -> Image.Image:
    levels = range(0, 256, 15)
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return Image.fromarray(np.array(list(product(levels, repeat=3)), dtype=np.uint8)[None])
