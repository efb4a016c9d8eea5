"""The markers of a JPEG file, counted before it is decoded.

Each scan of a progressive file goes over the whole picture again, however little data it has: a
file of 72 kB can hold thousands, and take minutes.
"""

import re

from percert.images.error import Refused
from percert.images.tiff_tags import check_exif

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
    percert.images.error.Refused: a JPEG file of more than 100 scans, ...
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
