"""How much memory decoding a picture may take, and how much it will."""

import os
import re

from PIL import Image

#: What decoding one picture may take at most, in bytes, where nothing else is said.
MAX_MEMORY = 2 << 30

#: The environment variable that sets another limit for a process and those it starts.
VARIABLE = "PERCERT_MAX_MEMORY"

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
