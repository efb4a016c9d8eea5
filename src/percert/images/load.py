"""Safe decoding of one image file: how much memory it may take and will, and what comes out.

What is wrong with a file is said once, by :class:`percert.images.ImageError`.
"""

import io
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from percert.check import one_line
from percert.images.colour_profile import png_colour
from percert.images.formats import (
    START,
    ImageError,
    Refused,
    format_of,
    why_not_readable,
    why_unidentified,
)
from percert.images.pixels import to_tensor
from percert.images.silence import without_libtiff_errors, without_pillow_warnings
from percert.images.structure import PngChunks, check_exif, look_at

#: What decoding one picture may take at most, in bytes, where nothing else is said.
MAX_MEMORY = 2 << 30

#: The environment variable that sets another limit for a process and those it starts.
VARIABLE = "PERCERT_MAX_MEMORY"

T = TypeVar("T")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: Bytes that pillow keeps of a pixel.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
#: What comes out: three float32.
_RESULT = 12
#: Bytes a pixel that a decoder holds besides until the file is closed: measured, rounded up. What
#: it takes only while it decodes, such as coefficients of a progressive JPEG, is less than the
#: result.
_DECODER = {"WEBP": 9, "AVIF": 6, "HEIF": 8, "TIFF": 5}
#: Buffers of one strip of rows, and the rest.
_FIXED = 32 << 20


def memory_limit() -> int:
    """The limit of this process: :data:`MAX_MEMORY`, or what ``PERCERT_MAX_MEMORY`` says.

    Raises ``ValueError`` where that is no size.
    """
    said = os.environ.get(VARIABLE)
    return MAX_MEMORY if not said else parse_size(said, VARIABLE)


def parse_size(text: str, what: str = "max_memory") -> int:
    """A number of bytes, as ``2GiB``, ``500M`` or plain. Raises ``ValueError`` for anything else.

    >>> parse_size("1.5GiB"), parse_size("64 MiB"), parse_size("1000")
    (1610612736, 67108864, 1000)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise ValueError(f"{what}: expected a size such as 2GiB or 500MiB, found {text!r}")
    return size


def size_words(size: int) -> str:
    """A number of bytes for people.

    >>> size_words(3 << 30), size_words(5000)
    ('3.0 GiB', '4.9 KiB')
    """
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def decoding_memory(image: Image.Image, encoded: int) -> int:
    """The most bytes that decoding an opened ``image`` of ``encoded`` bytes takes, estimated.

    The file, pillow's pixels, what its decoder keeps besides, and the result; never below what was
    measured (``tests/images/test_memory.py``). Nothing is decoded to know it.

    >>> decoding_memory(Image.new("RGB", (10_000, 10_000)), 0) // 10**8
    16
    """
    stored = _STORED.get(image.mode, 4)
    decoder = _DECODER.get(image.format or "", 0)
    width, height = image.size
    return encoded + width * height * (stored + decoder + _RESULT) + _FIXED


_ORIENTATION = 274
_PLANAR_CONFIGURATION, _BITS_PER_SAMPLE = 284, 258
#: 2- and 4-bit grey PNG: pillow stretches the pixels to 8 bits, but not the transparent level.
_KEY_SCALE = {"L;2": 85, "L;4": 17}


def load_image(
    path: str | os.PathLike[str], *, max_memory: int | None = None, max_pixels: int | None = None
) -> Tensor:
    """The image in a JPEG, PNG, WebP, BMP, TIFF or AVIF file: ``(3, h, w)`` float32 sRGB in [0, 1].

    HEIC is read as well where pillow-heif is installed (the extra ``heic``). The format is known by
    content, never by suffix. The EXIF orientation is applied. Transparency is composited on white.
    Grey, palette, 1-bit, YCbCr and CMYK become RGB; an embedded ICC profile that is not sRGB in
    effect is converted to sRGB as browsers do (8-bit files only), and so are the colours that a PNG
    declares by cICP, or by gAMA and cHRM. 16-bit grey keeps its 16 bits; of 16-bit colour pillow
    keeps the high byte, so such values come out up to 1/257 too dark. Float TIFF must be grey in
    [0, 1]. Of a JPEG with several pictures (MPO, as phones write) the first is taken.

    Before anything is decoded, the file's parts are counted (scans of a JPEG, chunks of a PNG, tags
    of a TIFF), and what decoding takes is estimated from size and mode and held against
    ``max_memory`` in bytes: 2 GiB where nothing is said, or the environment's
    ``PERCERT_MAX_MEMORY``. ``max_pixels`` limits width * height besides. Pillow's own limit holds
    too: to go above 178,956,970 pixels, raise ``PIL.Image.MAX_IMAGE_PIXELS``.

    Raises :class:`ImageError` (path, then reason) for a file that is missing, unreadable, no
    regular file, empty, of another format, truncated, damaged, animated, of several pages, too
    large, or with pixels that have no meaning in [0, 1].

    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from percert.images import save_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_image(torch.ones(3, 4, 5), Path(folder, "white.png"))
    ...     load_image(Path(folder, "white.png")).shape
    torch.Size([3, 4, 5])
    """
    limits = _limits(max_memory, max_pixels)
    encoded = read_encoded(path, limits[0])
    return with_opened(encoded, path, limits, _decode)


def decode_image(
    encoded: bytes,
    name: str | os.PathLike[str],
    *,
    max_memory: int | None = None,
    max_pixels: int | None = None,
) -> Tensor:
    """The image in the bytes of a file, as :func:`load_image` reads it; errors say ``name``.

    >>> decode_image(b"GIF89a", "row 7")
    Traceback (most recent call last):
    percert.images.formats.ImageError: row 7: a GIF file, but only JPEG, PNG, WebP, BMP, TIFF and
    ...
    """
    return with_opened(encoded, name, _limits(max_memory, max_pixels), _decode)


def _limits(max_memory: int | None, max_pixels: int | None) -> tuple[int, int | None]:
    for name, value in (("max_memory", max_memory), ("max_pixels", max_pixels)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, found {value}")
    return memory_limit() if max_memory is None else max_memory, max_pixels


def read_encoded(path: str | os.PathLike[str], max_memory: int) -> bytes:
    """The bytes of the regular file ``path``, if they are no more than ``max_memory``."""
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > max_memory:
            raise ImageError(
                path,
                f"a file of {size_words(size)}, more than max_memory = {size_words(max_memory)}",
            )
        try:
            return stream.read()
        except OSError as error:
            raise ImageError(path, f"cannot be read ({error.strerror})") from error
        except MemoryError as error:
            raise ImageError(path, "needs more memory than there is") from error


def with_opened(
    encoded: bytes,
    path: str | os.PathLike[str],
    limits: tuple[int, int | None],
    use: Callable[[ImageFile.ImageFile, PngChunks | None], T],
) -> T:
    """What ``use`` makes of an image whose header keeps the ``limits`` (bytes, pixels), and of a
    PNG file's chunks. Nothing is decoded before. :class:`ImageError` as of :func:`load_image`.
    """
    if not encoded:
        raise ImageError(path, "an empty file (0 bytes)")
    start = encoded[:START]
    format = format_of(start)
    try:
        if format is None:
            raise Refused(why_unidentified(start))
        if (reason := why_not_readable(format)) is not None:
            raise Refused(reason)
        with without_pillow_warnings():
            return _opened(encoded, format, *limits, use)
    except UnidentifiedImageError as error:
        raise ImageError(path, why_unidentified(start)) from error
    except Refused as error:
        raise ImageError(path, str(error)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"refused by pillow, {one_line(error)}") from error
    except MemoryError as error:
        raise ImageError(path, "needs more memory than there is") from error
    except Exception as error:  # pillow lets many kinds through when a file is damaged
        raise ImageError(path, f"a damaged or truncated file ({one_line(error)})") from error


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The regular file ``path`` for reading; :class:`ImageError` says why it cannot be."""
    try:
        # Before opening: to open a pipe would wait for its writer.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            readable = os.access(path, os.R_OK | os.X_OK)
            raise ImageError(
                path, "a directory, not an image file" if readable else "an unreadable directory"
            )
        if not stat.S_ISREG(mode):
            raise ImageError(path, "not a regular file")
        return open(path, "rb")
    except FileNotFoundError as error:
        raise ImageError(path, "no such file") from error
    except OSError as error:
        raise ImageError(path, f"cannot be opened ({error.strerror})") from error
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(path, f"not a valid path ({error})") from error


def _opened(
    encoded: bytes,
    format: str,
    max_memory: int,
    max_pixels: int | None,
    use: Callable[[ImageFile.ImageFile, PngChunks | None], T],
) -> T:
    facts = look_at(encoded, format)
    with Image.open(io.BytesIO(encoded), formats=(format,)) as image:
        width, height = image.size
        if max_pixels is not None and width * height > max_pixels:
            raise Refused(
                f"declares {width} x {height} = {width * height} pixels, more than max_pixels = "
                f"{max_pixels} (a decompression bomb?)"
            )
        needed = decoding_memory(image, len(encoded))
        if needed > max_memory:
            raise Refused(
                f"declares {width} x {height} pixels, which take {size_words(needed)} to decode, "
                f"more than max_memory = {size_words(max_memory)} (a decompression bomb?)"
            )
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise Refused("animated or of several pages, but only single images are accepted")
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _check_tiff(image)
        return use(image, facts if isinstance(facts, PngChunks) else None)


def _decode(image: ImageFile.ImageFile, chunks: PngChunks | None) -> Tensor:
    colour = None if chunks is None else png_colour(chunks.colours)
    raw_mode = image.tile[0][3] if chunks is not None and image.tile else None
    if image.tile and image.tile[0][0] == "libtiff":
        with without_libtiff_errors():
            image.load()
    else:
        image.load()
    if isinstance(raw_mode, str) and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= _KEY_SCALE.get(raw_mode, 1)
    try:
        return to_tensor(image, _orientation(image), colour)
    except ValueError as error:
        raise Refused(str(error)) from error


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse what pillow decodes wrongly.

    Separate planes, but for those of 8 bits of RGB and CMYK; and compressed samples of 32 bits in
    the other byte order than this machine's, which libtiff has turned round already.
    """
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
    if image.tag_v2.get(_PLANAR_CONFIGURATION, 1) == 2 and len(bits) > 1:
        sound = image.mode in ("RGB", "RGBX", "RGBA", "CMYK")
        if set(bits) != {8} or not sound:
            raise Refused(
                f"a TIFF file of {len(bits)} separate planes of {bits[0]} bits, which pillow "
                "decodes wrongly; save it with its samples interleaved"
            )
    foreign = image.tag_v2.prefix != (b"II" if sys.byteorder == "little" else b"MM")
    if foreign and image.mode in ("I", "F") and image.tile and image.tile[0][0] == "libtiff":
        raise Refused(
            "a compressed TIFF file of 32-bit samples in foreign byte order, which pillow decodes "
            "wrongly; save it uncompressed"
        )


def _orientation(image: Image.Image) -> int:
    (found,) = exif_tags(image, (_ORIENTATION,))
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def exif_tags(image: Image.Image, tags: Sequence[int]) -> list[object]:
    """What an image's EXIF block says of each of ``tags``, or ``None``: a broken one is no reason
    to refuse a picture.
    """
    try:
        # PNG may hide EXIF as text, in hexadecimal.
        hidden = str(image.info.get("Raw profile type exif", "")).split("\n")[3:]
        check_exif(bytes.fromhex("".join(hidden)))
        exif = image.getexif()
        return [exif.get(tag) for tag in tags]
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return [None] * len(tags)
