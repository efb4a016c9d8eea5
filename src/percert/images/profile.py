"""Embedded ICC colour profiles."""

import io
from functools import cache
from itertools import product

import numpy as np
from PIL import Image

#: A profile that moves no colour of the probe by more 8-bit levels than this is taken for sRGB.
SAME_COLOUR = 2


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An ``L``, ``RGB`` or ``CMYK`` image as sRGB, by its embedded ICC ``profile`` if it has one.

    Relative colorimetric with black point compensation, as browsers show it. A profile that is
    sRGB in effect leaves the pixels as they are, to the bit. A profile that is broken, that does
    not fit the image's mode, or that no ImageCms is there to apply, is ignored, as viewers do;
    without a profile, CMYK is converted by pillow's plain (1 - ink)(1 - key).

    >>> to_srgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), None).getpixel((0, 0))
    (255, 0, 0)
    """
    if profile:
        from PIL import ImageCms

        try:
            transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                image.mode,
                "RGB",
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            if image.mode == "CMYK" or not _is_identity(transform, image.mode):
                converted = ImageCms.applyTransform(image, transform)
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ImportError):
            pass
    return image.convert("RGB")


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
