"""The image formats that are read and written, and the error that says why a file is none."""

import os
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import features

from percert.extras import install_extra


class ImageError(ValueError):
    """A file that cannot be read as an image, or written as one: which file, and why.

    ``path`` and ``reason`` are kept apart for lists of bad files; the message is both. It survives
    pickling, so that it can come back from a worker process.

    >>> str(ImageError("holiday.gif", "a GIF file"))
    'holiday.gif: a GIF file'
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Refused(Exception):
    """Bytes that are not decoded, and why; becomes an :class:`ImageError` with the file's name."""


#: The formats that are read, for people; HEIC is besides where pillow-heif is installed.
ACCEPTED = "JPEG, PNG, WebP, BMP, TIFF and AVIF"

#: Suffixes by which a directory's images are found; of other files without one, the content says.
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".avif", ".heic", ".heif", ".hif"),
    }
)

#: Suffixes that can be saved without loss, and pillow's format for each.
LOSSLESS = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}

#: Of each format, by pillow's name for it: the module that reads it, and people's name.
_MODULES = {
    "JPEG": ("PIL.JpegImagePlugin", "JPEG"),
    "PNG": ("PIL.PngImagePlugin", "PNG"),
    "WEBP": ("PIL.WebPImagePlugin", "WebP"),
    "BMP": ("PIL.BmpImagePlugin", "BMP"),
    "TIFF": ("PIL.TiffImagePlugin", "TIFF"),
    "AVIF": ("PIL.AvifImagePlugin", "AVIF"),
    "HEIF": ("pillow_heif", "HEIC"),
}
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHER_STARTS = {
    b"GIF8": "GIF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP": "JPEG 2000",
}
#: Kinds of pictures that are not read, by suffix.
OTHER_SUFFIXES = {
    ".gif": "GIF",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".jpx": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".tga": "TGA",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
    ".svg": "SVG",
    ".pdf": "PDF",
    ".psd": "PSD",
    ".ico": "ICO",
    ".exr": "EXR",
    ".hdr": "HDR",
    ".dng": "raw",
    ".cr2": "raw",
    ".cr3": "raw",
    ".nef": "raw",
    ".arw": "raw",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

#: As many bytes as :func:`format_of` looks at.
START = 64


def format_of(start: bytes) -> str | None:
    """What pillow calls the accepted format of a file that begins with ``start``, if it is one.

    >>> format_of(bytes.fromhex("89504e470d0a1a0a")), format_of(b"GIF89a")
    ('PNG', None)
    """
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        brands = {start[8:12], *(start[i : i + 4] for i in range(16, _box_end(start), 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIF" if brands & _HEIF_BRANDS else None
    return next((name for magic, name in _STARTS.items() if start.startswith(magic)), None)


def _box_end(start: bytes) -> int:
    return min(int.from_bytes(start[:4], "big"), len(start) - 3)


def other_kind(start: bytes) -> str | None:
    """The name of a known format that is not accepted, such as GIF.

    >>> other_kind(b"GIF89a"), other_kind(b"hello")
    ('GIF', None)
    """
    if start[4:8] == b"ftyp" and format_of(start) is None:
        return "video"
    return next((name for magic, name in _OTHER_STARTS.items() if start.startswith(magic)), None)


def why_unidentified(start: bytes) -> str:
    """Why nothing reads a file that begins with ``start``.

    >>> why_unidentified(b"GIF89a")
    'a GIF file, but only JPEG, PNG, WebP, BMP, TIFF and AVIF are accepted'
    """
    found = format_of(start)
    if found is not None:
        name = _MODULES[found][1]
        article = "an" if name == "AVIF" else "a"
        return f"{article} {name} file whose header is damaged or of a kind that cannot be decoded"
    kind = other_kind(start)
    if kind is not None:
        article = "an" if kind in ("SVG", "XML") else "a"
        return f"{article} {kind} file, but only {ACCEPTED} are accepted"
    return f"not an image of an accepted format ({ACCEPTED})"


@cache
def why_not_readable(format: str) -> str | None:
    """Why files of an accepted format cannot be read here, ``None`` where they can.

    >>> why_not_readable("PNG")
    """
    module = _MODULES[format][0]
    if format == "AVIF" and not ("avif" in features.modules and features.check("avif")):
        return "an AVIF file, which this pillow cannot decode (11.3 and newer can)"
    try:
        plugin = import_module(module)
    except ImportError:
        return f"a HEIC file, which needs pillow-heif: {install_extra('heic')}"
    if format == "HEIF":
        plugin.register_heif_opener(thumbnails=False)
    return None
