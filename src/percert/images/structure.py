"""What a file's structure would make a decoder do, counted before anything is decoded.

A small file can make a decoder work for hours or take all memory. What decides that is counted
here, format by format; ``Refused`` says what there is too much of. Tags of a TIFF file or of an
EXIF block that overlap multiply it in memory: 3,000 of them make 6 GB of one of 1 MB. Each scan of
a progressive JPEG file goes over the whole picture again, however little data it has: a file of
72 kB can hold thousands, and take minutes. A PNG file's chunks are counted as well, and those are
found that say what its colours mean.
"""

import re
import struct
from dataclasses import dataclass, field

from percert.images.formats import Refused

#: Tags of one directory; real files have up to about 200.
MAX_TAGS = 1024
#: Strips or tiles of a picture: each costs time and memory of its own.
MAX_PARTS = 1 << 18
#: Numbers in any other tag: a colour map of 16 bits has 196,608.
MAX_NUMBERS = 200_000
#: How many times the file's own size its tags may take: damaged ones may claim too much.
MAX_OVERLAP = 4

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES_BIG = {**_SIZES, 16: 8, 17: 8, 18: 8}
_BYTES = frozenset({1, 2, 6, 7})
#: Strip and tile offsets and byte counts.
_PARTS = frozenset({273, 279, 324, 325})
#: EXIF, GPS, interoperability and further directories.
_POINTERS = frozenset({330, 34665, 34853, 40965})
_MOST_DIRECTORIES = 16


@dataclass(frozen=True)
class _Form:
    """How numbers are written: byte order, whether BigTIFF."""

    order: str
    big: bool

    def directory(self, data: bytes | memoryview, at: int) -> list[tuple[int, int, int, int]]:
        """(tag, type, count, value or offset) of the directory ``at``, as far as it goes."""
        head, entry = ("Q", "HHQQ") if self.big else ("H", "HHII")
        size = struct.calcsize("=" + head)
        if at + size > len(data):
            return []
        (count,) = struct.unpack_from(self.order + head, data, at)
        if count > MAX_TAGS:
            raise Refused(f"a directory of {count} tags, more than {MAX_TAGS}")
        step = struct.calcsize("=" + entry)
        last = min(at + size + count * step, len(data) - step + 1)
        places = range(at + size, last, step)
        return [struct.unpack_from(self.order + entry, data, place) for place in places]


def check_tiff(data: bytes | memoryview) -> None:
    """Raise ``Refused`` where the tags of a TIFF file cost far more than the file is large.

    What is damaged is left to the decoder.

    >>> check_tiff(b"II*\\0\\x08\\0\\0\\0" + b"\\xff" * 8)
    Traceback (most recent call last):
    percert.images.formats.Refused: a directory of 65535 tags, more than 1024
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 16:
        return
    big = 43 in data[2:4]
    form = _Form(order, big)
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    waiting, seen, total = [first], set[int](), 0
    while waiting and len(seen) < _MOST_DIRECTORIES:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        for tag, kind, count, value in form.directory(data, at):
            if tag in _POINTERS:
                waiting.append(value)
            total += _cost(tag, kind, count, value, len(data), form)
    if total > MAX_OVERLAP * len(data):
        raise Refused("tags that overlap: their values take more than the whole file")


def check_exif(data: bytes) -> None:
    """The same for an EXIF block, with or without ``Exif`` before it."""
    check_tiff(data[6:] if data[:4] == b"Exif" else data)


def check_all_exif(data: bytes) -> None:
    """The same for every EXIF block that may be somewhere in ``data``."""
    view = memoryview(data)
    for count, found in enumerate(re.finditer(rb"II\*\0|MM\0\*", data)):
        if count == _MOST_DIRECTORIES:
            raise Refused(f"more than {_MOST_DIRECTORIES} EXIF blocks")
        check_tiff(view[found.start() :])


def _cost(tag: int, kind: int, count: int, value: int, length: int, form: _Form) -> int:
    """The bytes of a value that lies elsewhere; what cannot be there is not read."""
    sizes = _SIZES_BIG if form.big else _SIZES
    if kind not in sizes:
        return 0
    size = count * sizes[kind]
    if size <= (8 if form.big else 4):
        return 0
    there = max(0, min(size, length - value))
    if there == size:
        most = MAX_PARTS if tag in _PARTS else MAX_NUMBERS
        if kind not in _BYTES and count > most:
            raise Refused(f"{count} numbers in tag {tag}, more than {most}")
    return there


#: Encoders write up to about 20 scans; libtiff draws the same line.
MAX_SCANS = 100
#: Segments before the picture: profiles and metadata are cut into pieces of 64 kB.
MAX_SEGMENTS = 4096

#: A marker that ends a scan's data: not a stuffed 0xff, no restart, no fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF = b"Exif\0\0"


def check_jpeg(encoded: bytes) -> int:
    """How many scans the first picture of a JPEG file has; ``Refused`` for too many of anything.

    What is damaged is left to the decoder.

    >>> check_jpeg(b"\\xff\\xd8" + b"\\xff\\xda\\x00\\x02" * 200)
    Traceback (most recent call last):
    percert.images.formats.Refused: a JPEG file of more than 100 scans, ...
    """
    place, scans, segments, exif = 2, 0, 0, []
    while (found := _MARKER.search(encoded, place)) is not None:
        marker, place = encoded[found.start() + 1], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        length = int.from_bytes(encoded[place : place + 2], "big")
        if marker == _START_OF_SCAN:
            scans += 1
        elif marker == _APP1 and encoded[place + 2 : place + 8] == _EXIF:
            exif.append(encoded[place + 8 : place + length])
        segments += 1
        place += max(length, 2)
        if scans > MAX_SCANS:
            raise Refused(
                f"a JPEG file of more than {MAX_SCANS} scans, each of which would take as long "
                "as a picture"
            )
        if segments > MAX_SEGMENTS:
            raise Refused(f"a JPEG file of more than {MAX_SEGMENTS} segments")
    check_exif(b"".join(exif))  # pillow joins them
    return scans


#: More chunks would take long to read, whatever they hold; pillow limits what texts unpack to.
MAX_CHUNKS = 65_536

_FIRST = 8  # after the signature
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")


@dataclass(frozen=True)
class PngChunks:
    """The data of the chunks on colour by name, and the bit depth."""

    colours: dict[bytes, bytes] = field(default_factory=dict)
    depth: int = 8


def read_chunks(encoded: bytes) -> PngChunks:
    """Look through the chunks of a PNG file; ``Refused`` for too many.

    Those on colour count only before the picture, and the first of each (PNG, 3rd edition, 5.6).
    What is damaged is left to the decoder.
    """
    colours: dict[bytes, bytes] = {}
    place, count, begun, exif = _FIRST, 0, False, b""
    while place + 8 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, place)
        count += 1
        if count > MAX_CHUNKS:
            raise Refused(f"a PNG file of more than {MAX_CHUNKS} chunks")
        if name == b"IEND":
            break
        begun = begun or name == b"IDAT"
        if name in _COLOURS and not begun:
            colours.setdefault(name, encoded[place + 8 : place + 8 + length])
        elif name == b"eXIf":
            exif = encoded[place + 8 : place + 8 + length]
        place += 12 + length
    check_exif(exif)
    return PngChunks(colours, encoded[24] if len(encoded) > 24 else 8)


#: Run-length BMP is decoded by pillow in Python: a second for so many pixels.
MAX_RUN_LENGTH_PIXELS = 1 << 24
#: Chunks of a WebP file: a single picture has a handful.
MAX_WEBP_CHUNKS = 1024


def look_at(encoded: bytes, format: str) -> PngChunks | None:
    """Check the file; what the chunks of a PNG say.

    >>> look_at(b"RIFF\\0\\0\\0\\0WEBP", "WEBP")
    """
    if format == "JPEG":
        check_jpeg(encoded)
    elif format == "PNG":
        return read_chunks(encoded)
    elif format == "TIFF":
        check_tiff(encoded)
    elif format == "BMP":
        _check_bmp(encoded)
    elif format == "WEBP":
        _check_webp(encoded)
    else:
        # Pillow reads EXIF as soon as it opens these, and it may lie anywhere.
        check_all_exif(encoded)
    return None


def _check_bmp(encoded: bytes) -> None:
    if len(encoded) < 34 or encoded[14] < 40:
        return
    width, height, _, _, compression = struct.unpack_from("<iiHHI", encoded, 18)
    if compression in (1, 2) and abs(width * height) > MAX_RUN_LENGTH_PIXELS:
        raise Refused(
            f"a run-length encoded BMP file of {abs(width)} x {abs(height)} pixels, more than "
            f"{MAX_RUN_LENGTH_PIXELS}"
        )


def _check_webp(encoded: bytes) -> None:
    place, count, exif = 12, 0, b""
    while place + 8 <= len(encoded):
        name, length = struct.unpack_from("<4sI", encoded, place)
        count += 1
        if count > MAX_WEBP_CHUNKS:
            raise Refused(f"a WebP file of more than {MAX_WEBP_CHUNKS} chunks (animated?)")
        if name == b"EXIF" and not exif:
            exif = encoded[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    check_exif(exif)
