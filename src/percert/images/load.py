"""Safe decoding of one image file."""

import io
import os
import stat
import struct
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from percert.check import one_line
from percert.images.error import ImageError
from percert.images.formats import FORMATS, why_unidentified
from percert.images.pixels import to_tensor
from percert.images.quiet import without_libtiff_errors, without_pillow_warnings

#: Above this many pixels a file is taken for a decompression bomb: pillow's own limit.
MAX_PIXELS = 178_956_970

_ORIENTATION = 274
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: 2- and 4-bit grey PNG: pillow stretches the pixels to 8 bits, but not the transparent level.
_KEY_SCALE = {"L;2": 85, "L;4": 17}


def load_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The image in a JPEG, PNG, WebP, BMP or TIFF file, as ``(3, h, w)`` float32 sRGB in [0, 1].

    The format is known by content, never by suffix. The EXIF orientation is applied. Transparency
    is composited on white. Grey, palette, 1-bit, YCbCr and CMYK become RGB; an embedded ICC
    profile that is not sRGB in effect is converted to sRGB as browsers do (8-bit files only).
    16-bit grey keeps its 16 bits; of 16-bit colour pillow keeps the high byte, so such values
    come out up to 1/257 too dark. Float TIFF must be grey in [0, 1]. Of a JPEG with several
    pictures (MPO, as phones write) the first is taken.

    The size in the header is held against ``max_pixels`` (width * height) before anything is
    decoded. Pillow's own limit holds besides: to go above it, raise ``PIL.Image.MAX_IMAGE_PIXELS``.

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
    _check_limit(max_pixels)
    with open_file(path) as stream:
        return _load(stream, path, max_pixels)


def decode_image(
    encoded: bytes, name: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """The image in the bytes of a file, as :func:`load_image` reads it; errors say ``name``.

    >>> decode_image(b"GIF89a", "row 7")
    Traceback (most recent call last):
    percert.images.error.ImageError: row 7: a GIF file, but only JPEG, PNG, WebP, BMP and TIFF ...
    """
    _check_limit(max_pixels)
    return _load(io.BytesIO(encoded), name, max_pixels)


def _check_limit(max_pixels: int) -> None:
    if max_pixels < 1:
        raise ValueError(f"max_pixels: expected at least 1, found {max_pixels}")


def _load(stream: BinaryIO, path: str | os.PathLike[str], max_pixels: int) -> Tensor:
    start = stream.read(16)
    if not start:
        raise ImageError(path, "an empty file (0 bytes)")
    try:
        with without_pillow_warnings():
            return _decode(stream, max_pixels)
    except UnidentifiedImageError as error:
        raise ImageError(path, why_unidentified(start)) from error
    except _Refused as error:
        raise ImageError(path, str(error)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"refused by pillow, {one_line(error)}") from error
    except MemoryError as error:
        raise ImageError(path, "needs more memory than there is") from error
    except Exception as error:  # pillow lets many kinds through when a file is damaged
        raise ImageError(path, f"a damaged or truncated file ({one_line(error)})") from error


class _Refused(Exception):
    """A sound file that is not accepted."""


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


def _decode(stream: BinaryIO, max_pixels: int) -> Tensor:
    image: Image.Image
    with Image.open(stream, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _Refused(
                f"declares {width} x {height} = {width * height} pixels, more than max_pixels = "
                f"{max_pixels} (a decompression bomb?)"
            )
        if image.format in ("PNG", "WEBP", "TIFF") and getattr(image, "is_animated", False):
            raise _Refused("animated or of several pages, but only single images are accepted")
        raw_mode = image.tile[0][3] if image.format == "PNG" and image.tile else None
        if image.tile and image.tile[0][0] == "libtiff":
            with without_libtiff_errors():
                image.load()
        else:
            image.load()
        if isinstance(raw_mode, str) and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= _KEY_SCALE.get(raw_mode, 1)
        try:
            return to_tensor(_upright(image))
        except ValueError as error:
            raise _Refused(str(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return image  # a broken EXIF block is no reason to refuse the picture
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)
