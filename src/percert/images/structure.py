"""What a file says of itself, looked at before anything is decoded.

A small file can make a decoder work for hours or take all memory. What decides that is counted
here, format by format; ``Refused`` says what there is too much of.
"""

import struct

from percert.images.error import Refused
from percert.images.jpeg_scans import check_jpeg
from percert.images.png_chunks import PngChunks, read_chunks
from percert.images.tiff_tags import check_all_exif, check_exif, check_tiff

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
