"""The tags of a TIFF file or of an EXIF block, counted before anybody reads their values.

Tags that overlap multiply a file in memory: 3,000 of them make 6 GB of one of 1 MB.
"""

import re
import struct
from dataclasses import dataclass

from percert.images.error import Refused

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
    percert.images.error.Refused: a directory of 65535 tags, more than 1024
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
