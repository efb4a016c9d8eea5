"""The pixels of an opened pillow image, of any mode, as sRGB in [0, 1]."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor

from percert.check import PIXEL_TOLERANCE
from percert.images.profile import to_srgb

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262


def to_tensor(image: Image.Image) -> Tensor:
    """``(3, h, w)`` float32 sRGB in [0, 1] of a loaded pillow image; ``ValueError`` if impossible.

    8-bit modes give k/255 exactly, transparency composited on white included (rounded to 8 bits,
    as a viewer does). 16-bit grey is divided by 65535, 12-bit by 4095, float is taken as it is.

    >>> (255 * to_tensor(Image.new("LA", (1, 1), (0, 51)))).flatten().tolist()
    [204.0, 204.0, 204.0]
    """
    if image.mode in _DEEP_GREY:
        return _spread(_deep_grey(image))
    if image.mode == "F":
        return _spread(_float_grey(image))
    pixels = torch.from_numpy(_eight_bit(image)).permute(2, 0, 1)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _eight_bit(image: Image.Image) -> _Bytes:
    """``(h, w, 3)`` of any 8-bit mode."""
    profile = image.info.get("icc_profile")
    image = image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image
    if image.has_transparency_data:
        alpha = np.array(image.convert("RGBA").getchannel("A"), dtype=np.uint32)[..., None]
        colour = image.getchannel("L") if image.mode == "LA" else image.convert("RGBA")
        colour = colour if colour.mode == "L" else colour.convert("RGB")
        pixels = np.array(to_srgb(colour, profile), dtype=np.uint32)
        # 255 is odd, so that no exact half arises and this rounds to the nearest.
        return ((alpha * pixels + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
    if image.mode in ("1", "P", "YCbCr"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        raise ValueError(f"pixels of mode {image.mode}, which has no conversion to sRGB")
    return np.array(to_srgb(image, profile))


def _deep_grey(image: Image.Image) -> _Floats:
    values = np.asarray(image)
    bits, white_is_zero = _tiff_facts(image)
    full = 4095 if bits == 12 else 65535
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > full:
        raise ValueError(
            f"integer grey pixels lie in [{low}, {high}], but only [0, {full}] is accepted"
        )
    grey: _Floats = values.astype(np.float32) / np.float32(full)
    grey = 1 - grey if white_is_zero else grey
    clear = image.info.get("transparency")
    return np.where(values == clear, np.float32(1), grey) if isinstance(clear, int) else grey


def _float_grey(image: Image.Image) -> _Floats:
    values: _Floats = np.array(image, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    if not (low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE):
        raise ValueError(f"float pixels lie in [{low:.6g}, {high:.6g}], but must lie in [0, 1]")
    grey = values.clip(0, 1)
    return 1 - grey if _tiff_facts(image)[1] else grey


def _tiff_facts(image: Image.Image) -> tuple[int, bool]:
    """Bits per sample (0 where unknown) and whether 0 is white, which pillow leaves to us."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0, False
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (0,))
    return int(bits[0] if isinstance(bits, tuple) else bits), image.tag_v2.get(_PHOTOMETRIC) == 0


def _spread(grey: _Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(grey)).expand(3, *grey.shape).contiguous()
