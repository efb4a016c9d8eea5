"""Small files that would take a decoder minutes, or all memory: refused, by what is counted."""

import re
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from tests.images.pictures import encode, png, smooth

from percert.images import ImageError
from percert.images.load import decode_image
from percert.images.structure import check_jpeg

PICTURE = Image.fromarray(smooth())


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, "picture")
    return caught.value.reason


@pytest.fixture
def cheap() -> Iterator[None]:
    """What happens within takes under 5 seconds and under 50 MB of Python's memory."""
    tracemalloc.start()
    began = time.process_time()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - began < 5
    assert peak < 50e6


def repeated_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes ``count`` times more."""
    data = encode(PICTURE, "JPEG", progressive=True)
    last = [found.start() for found in re.finditer(rb"\xff\xda", data)][-1]
    return data[:-2] + data[last:-2] * count + data[-2:]


@pytest.mark.usefixtures("cheap")
def test_scans_of_a_jpeg_are_counted() -> None:
    usual = check_jpeg(encode(PICTURE, "JPEG", progressive=True))
    assert usual == 10
    assert check_jpeg(encode(PICTURE, "JPEG")) == 1
    assert decode_image(repeated_scans(90), "x").shape == (3, 24, 30)
    assert reason(repeated_scans(91)).startswith("a JPEG file of more than 100 scans")
    assert reason(repeated_scans(5000)).startswith("a JPEG file of more than 100 scans")


@pytest.mark.usefixtures("cheap")
def test_segments_of_a_jpeg_are_counted() -> None:
    data = encode(PICTURE, "JPEG")
    comment = b"\xff\xfe\0\x03x"
    assert decode_image(data[:2] + comment * 4000 + data[2:], "x").shape == (3, 24, 30)
    assert reason(data[:2] + comment * 300_000 + data[2:]) == (
        "a JPEG file of more than 4096 segments"
    )


def test_scans_are_those_of_the_first_picture() -> None:
    first = encode(PICTURE, "JPEG")
    assert check_jpeg(first + repeated_scans(500)) == 1


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("chunk", [(b"tEXt", b"a\0b"), (b"prIv", b""), (b"IDAT", b"")])
def test_chunks_of_a_png_are_counted(chunk: tuple[bytes, bytes]) -> None:
    many = png([b"\0\0\0"], 1, 8, 2, *[chunk] * 70_000)
    assert reason(many) == "a PNG file of more than 65536 chunks"


@pytest.mark.usefixtures("cheap")
def test_texts_that_unpack_to_gigabytes() -> None:
    bomb = b"k\0\0" + zlib.compress(bytes(900_000))
    assert "damaged" in reason(png([b"\0\0\0"], 1, 8, 2, *[(b"zTXt", bomb)] * 200))


def overlapping(tags: int, size: int, order: str = "<", *, at: int = 8) -> bytes:
    """A TIFF directory whose ``tags`` all have the same ``size`` bytes at the end for a value."""
    length = at + 2 + 12 * tags + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    entries = b"".join(
        struct.pack(order + "HHII", 40_000 + i, 7, size, length) for i in range(tags)
    )
    return head + struct.pack(order + "H", tags) + entries + bytes(4) + bytes(size)


def as_tiff(tags: int, size: int, order: str) -> bytes:
    return overlapping(tags, size, order)


def as_png(tags: int, size: int, order: str) -> bytes:
    return png([b"\0\0\0"], 1, 8, 2, (b"eXIf", overlapping(tags, size, order)))


def as_hidden_png(tags: int, size: int, order: str) -> bytes:
    text = "\nexif\n1\n" + overlapping(tags, size, order).hex()
    packed = b"Raw profile type exif\0\0" + zlib.compress(text.encode())
    return png([b"\0\0\0"], 1, 8, 2, (b"zTXt", packed))


def as_webp(tags: int, size: int, order: str) -> bytes:
    return encode(PICTURE, "WEBP", exif=overlapping(tags, size, order))


def as_jpeg(tags: int, size: int, order: str) -> bytes:
    block = overlapping(tags, size, order)
    parts = [block[i : i + 60_000] for i in range(0, len(block), 60_000)]
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    )
    data = encode(PICTURE, "JPEG")
    return data[:2] + segments + data[2:]


def as_avif(tags: int, size: int, order: str) -> bytes:
    return encode(PICTURE, "AVIF", exif=overlapping(tags, size, order))


@pytest.mark.filterwarnings("ignore::UserWarning")  # pillow's own, while the files are made
@pytest.mark.parametrize("make", [as_tiff, as_png, as_hidden_png, as_webp, as_jpeg, as_avif])
@pytest.mark.parametrize("order", "<>")
def test_tags_are_counted_before_they_are_read(make, order: str, request) -> None:  # type: ignore[no-untyped-def]
    try:
        many, deep = make(3000, 100_000, order), make(900, 300_000, order)
    except (KeyError, OSError):
        pytest.skip("this pillow does not write AVIF")
    request.getfixturevalue("cheap")
    assert reason(many) == "a directory of 3000 tags, more than 1024"
    assert reason(deep) == "tags that overlap: their values take more than the whole file"


@pytest.mark.usefixtures("cheap")
def test_tags_below_a_pointer_are_counted() -> None:
    first = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 34665, 4, 1, 26, 0)
    assert len(first) == 26
    data = first + overlapping(3000, 100)[8:]
    assert reason(png([b"\0\0\0"], 1, 8, 2, (b"eXIf", data))) == (
        "a directory of 3000 tags, more than 1024"
    )


@pytest.mark.usefixtures("cheap")
def test_numbers_of_a_tag_are_counted() -> None:
    count = 500_000
    data = bytearray(encode(PICTURE, "TIFF", tiffinfo={282: 72.0}))
    there = data.find(struct.pack("<HHI", 282, 5, 1))
    data[there : there + 12] = struct.pack("<HHII", 282, 5, count, len(data))
    assert reason(bytes(data) + bytes(8 * count)) == ("500000 numbers in tag 282, more than 200000")


@pytest.mark.usefixtures("cheap")
def test_run_length_bmp_is_limited() -> None:
    head = b"BM" + struct.pack("<IHHI", 2000, 0, 0, 54 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, 60_000, 1_500, 1, 8, 1, 900, 0, 0, 256, 0)
    data = head + info + bytes(1024) + b"\0\0" * 1500
    assert "run-length encoded BMP" in reason(data)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF", "TIFF"])
def test_frames_and_pages_cost_nothing(format_: str) -> None:
    frames = [Image.fromarray(np.roll(smooth(), i, 1)) for i in range(1, 40)]
    try:
        data = encode(PICTURE, format_, save_all=True, append_images=frames)
    except (KeyError, OSError):
        pytest.skip(f"this pillow does not write {format_}")
    assert reason(data).startswith("animated or of several pages")


def test_a_webp_of_many_chunks() -> None:
    body = b"WEBP" + b"abcd\0\0\0\0" * 3000
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    assert reason(data).startswith("a WebP file of more than 1024 chunks")
