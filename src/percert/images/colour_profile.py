"""What a file says of its colours, brought to sRGB as browsers do.

Embedded ICC profiles, and a PNG file's gAMA, cHRM and cICP.
"""

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

from percert.images.formats import Refused

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


_Floats = npt.NDArray[np.float64]
_Bytes = npt.NDArray[np.uint8]

#: A display's gamma that is sRGB's, in gAMA's unit, and how far from it libpng still calls it that.
SRGB_GAMMA, GAMMA_TOLERANCE = 45455, 0.05

#: x and y of white, red, green and blue, by the numbers of ITU-T H.273.
_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_PRIMARIES: dict[int, tuple[tuple[float, float], ...]] = {
    1: (_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    4: (_C, (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
    5: (_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: (_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
#: The exponent of each transfer function, 0 for sRGB's own curve. Those of television are shown by
#: the reference display's 2.4 (BT.1886).
_TRANSFERS = {1: 2.4, 6: 2.4, 14: 2.4, 15: 2.4, 11: 2.4, 4: 2.2, 5: 2.8, 8: 1.0, 13: 0.0}
_HDR = {16: "PQ", 18: "HLG"}

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True, eq=False)
class PngColour:
    """Pixels to the power ``exponent`` (0: by sRGB's curve) times ``matrix`` are linear sRGB."""

    exponent: float
    matrix: _Floats

    def grey(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Grey in [0, 1] as sRGB: every matrix here leaves grey alone."""
        return _encoded(self._linear(values.astype(np.float64))).astype(np.float32)

    def convert(self, pixels: _Bytes) -> _Bytes:
        """``(h, w, 3)`` of 8 bits as sRGB, rounded to the nearest level; beyond its gamut cut."""
        linear = self._linear(np.arange(256) / 255)[pixels] @ self.matrix.T
        return (255 * _encoded(linear.clip(0, 1))).round().astype(np.uint8)

    def _linear(self, values: _Floats) -> _Floats:
        if self.exponent:
            return np.asarray(values**self.exponent, np.float64)
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def png_colour(chunks: Mapping[bytes, bytes]) -> PngColour | None:
    """What the colour ``chunks`` of a PNG ask for; ``None`` where pixels are sRGB, or an ICC
    profile says.

    cICP stands above iCCP, sRGB, and gAMA with cHRM, in this order (PNG, 3rd edition, 4.3). As in
    Chromium, cHRM without gAMA means nothing, gAMA alone within 5 % of 1/2.2 means sRGB, and a cICP
    of narrow range, of a matrix, or of unknown numbers is passed over. Raises ``Refused`` for PQ
    and HLG, whose light beyond white has no one place in sRGB.

    >>> png_colour({b"gAMA": (45455).to_bytes(4, "big")})
    >>> png_colour({b"gAMA": (100000).to_bytes(4, "big")}).exponent
    1.0
    """
    coded = chunks.get(b"cICP", b"")
    if len(coded) == 4 and coded[2:] == b"\0\1":
        primaries, transfer = coded[0], coded[1]
        if transfer in _HDR and primaries in _PRIMARIES:
            raise Refused(
                f"colours of high dynamic range ({_HDR[transfer]}), which have no one conversion "
                "to sRGB"
            )
        if primaries in _PRIMARIES and transfer in _TRANSFERS:
            return _colour(_TRANSFERS[transfer], _PRIMARIES[primaries])
    if b"iCCP" in chunks or b"sRGB" in chunks or len(chunks.get(b"gAMA", b"")) != 4:
        return None
    gamma = int.from_bytes(chunks[b"gAMA"], "big")
    where = _chromaticities(chunks.get(b"cHRM", b""))
    near = abs(gamma - SRGB_GAMMA) <= GAMMA_TOLERANCE * SRGB_GAMMA
    if not 0 < gamma < 1 << 31 or (where is None and near):
        return None
    return _colour(1e5 / gamma, where or _PRIMARIES[1])


def _chromaticities(data: bytes) -> tuple[tuple[float, float], ...] | None:
    if len(data) != 32:
        return None
    values = [value / 1e5 for value in struct.unpack(">8i", data)]
    found = tuple(zip(values[::2], values[1::2], strict=True))
    if not all(0 <= x <= 1 and 0 < y <= 1 and x + y <= 1 for x, y in found):
        return None
    return found if abs(np.linalg.det(_columns(found[1:]))) > 1e-6 else None


def _colour(exponent: float, where: tuple[tuple[float, float], ...]) -> PngColour | None:
    matrix = np.linalg.inv(_to_xyz(_PRIMARIES[1])) @ _to_xyz(where)
    return None if exponent == 0 and np.allclose(matrix, np.eye(3)) else PngColour(exponent, matrix)


def _to_xyz(where: tuple[tuple[float, float], ...]) -> _Floats:
    """RGB to XYZ under D65, adapted from the file's own white (Bradford)."""
    columns, white = _columns(where[1:]), _columns(where[:1])[:, 0]
    primaries = columns * np.linalg.solve(columns, white)
    cones = _BRADFORD @ _columns([_D65])[:, 0] / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ primaries)


def _columns(where: "list[tuple[float, float]] | tuple[tuple[float, float], ...]") -> _Floats:
    return np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in where]).T


def _encoded(linear: _Floats) -> _Floats:
    return np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055
    )
