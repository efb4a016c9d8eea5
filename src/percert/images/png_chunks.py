"""The chunks of a PNG file, counted before it is decoded, and those that say what colours mean."""

import struct
from dataclasses import dataclass, field

from percert.images.error import Refused
from percert.images.tiff_tags import check_exif

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
