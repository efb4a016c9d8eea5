"""The pixels of an opened pillow image, of any mode, as sRGB in [0, 1]."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor

from percert.check import PIXEL_TOLERANCE
from percert.images.colour_profile import PngColour, srgb_transform, to_srgb

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
#: How many pixels are converted at once: what a conversion takes besides its result stays small.
STRIP = 1 << 18


def to_tensor(image: Image.Image, orientation: int = 1, colour: PngColour | None = None) -> Tensor:
    """``(3, h, w)`` float32 sRGB in [0, 1] of a loaded pillow image; ``ValueError`` if impossible.

    8-bit modes give k/255 exactly, transparency composited on white included (rounded to 8 bits,
    as a viewer does). 16-bit grey is divided by 65535, 12-bit by 4095, float is taken as it is.
    Turned upright by EXIF's ``orientation``; ``colour`` is what a PNG says of its colours.

    >>> (255 * to_tensor(Image.new("LA", (1, 1), (0, 51)))).flatten().tolist()
    [204.0, 204.0, 204.0]
    """
    width, height = image.size
    shape = (height, width) if orientation < 5 else (width, height)
    found = np.empty((3, *shape), np.float32)
    stored = _as_stored(found, orientation)
    if image.mode in _DEEP_GREY or image.mode == "F":
        _check_range(image)
        for rows, strip in _strips(image):
            stored[:, rows] = _grey(strip, image, colour)
        return torch.from_numpy(found)
    profile = image.info.get("icc_profile") if colour is None else None
    for rows, strip in _strips(image):
        pixels = _eight_bit(strip, profile, colour)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        np.divide(pixels.transpose(2, 0, 1), np.float32(255), out=stored[:, rows])
    return torch.from_numpy(found)


def _as_stored(upright: _Floats, orientation: int) -> _Floats:
    """A view of ``(3, h, w)`` into which rows are written as the file holds them."""
    view = upright.transpose(0, 2, 1) if orientation >= 5 else upright
    if orientation in (3, 4, 6, 7):
        view = view[:, ::-1]
    if orientation in (2, 3, 7, 8):
        view = view[:, :, ::-1]
    return view


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = image.size
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        yield slice(top, bottom), image.crop((0, top, width, bottom))


def _eight_bit(image: Image.Image, profile: bytes | None, colour: PngColour | None) -> _Bytes:
    """``(h, w, 3)`` of any 8-bit mode."""
    image = image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image
    if image.has_transparency_data:
        alpha = np.array(image.convert("RGBA").getchannel("A"), dtype=np.uint32)[..., None]
        plain = image.getchannel("L") if image.mode == "LA" else image.convert("RGBA")
        plain = plain if plain.mode == "L" else plain.convert("RGB")
        pixels = _srgb(plain, profile, colour).astype(np.uint32)
        # 255 is odd, so that no exact half arises and this rounds to the nearest.
        return ((alpha * pixels + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
    if image.mode in ("1", "P", "YCbCr"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        raise ValueError(f"pixels of mode {image.mode}, which has no conversion to sRGB")
    return _srgb(image, profile, colour)


def _srgb(image: Image.Image, profile: bytes | None, colour: PngColour | None) -> _Bytes:
    if colour is not None:
        return colour.convert(np.asarray(image.convert("RGB")))
    return np.asarray(to_srgb(image, srgb_transform(profile, image.mode)))


def _check_range(image: Image.Image) -> None:
    """Raise ``ValueError`` where grey of more than 8 bits has values without a meaning."""
    lows, highs = zip(*((v.min(), v.max()) for v in map(_values, _only(image))), strict=True)
    low, high = min(lows), max(highs)
    # NaN is found by neither minimum nor maximum, but by their comparisons.
    if image.mode == "F":
        if not all(v >= -PIXEL_TOLERANCE for v in lows) or not all(
            v <= 1 + PIXEL_TOLERANCE for v in highs
        ):
            raise ValueError(f"float pixels lie in [{low:.6g}, {high:.6g}], but must lie in [0, 1]")
        return
    bits, _ = _tiff_facts(image)
    full = 4095 if bits == 12 else 65535
    if low < 0 or high > full:
        raise ValueError(
            f"integer grey pixels lie in [{low}, {high}], but only [0, {full}] is accepted"
        )
    if bits == 32 and 0 < high <= 255:
        raise ValueError(
            f"grey pixels of 32 bits that lie in [{low}, {high}]: of 8 bits, or dark ones of 16? "
            "The file does not say; save it with 8 or 16 bits"
        )


def _only(image: Image.Image) -> Iterator[Image.Image]:
    return (strip for _, strip in _strips(image))


def _values(image: Image.Image) -> npt.NDArray[np.generic]:
    return np.asarray(image)


def _grey(strip: Image.Image, image: Image.Image, colour: PngColour | None) -> _Floats:
    """``(h, w)`` in [0, 1] of a strip of ``image``, grey of more than 8 bits."""
    values = np.asarray(strip)
    bits, white_is_zero = _tiff_facts(image)
    grey: _Floats
    if image.mode == "F":
        grey = values.clip(0, 1)
        return 1 - grey if white_is_zero else grey
    grey = values.astype(np.float32) / np.float32(4095 if bits == 12 else 65535)
    grey = 1 - grey if white_is_zero else grey
    grey = grey if colour is None else colour.grey(grey)
    clear = image.info.get("transparency")
    return np.where(values == clear, np.float32(1), grey) if isinstance(clear, int) else grey


def _tiff_facts(image: Image.Image) -> tuple[int, bool]:
    """Bits per sample (0 where unknown) and whether 0 is white, which pillow leaves to us."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0, False
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (0,))
    return int(bits[0] if isinstance(bits, tuple) else bits), image.tag_v2.get(_PHOTOMETRIC) == 0
