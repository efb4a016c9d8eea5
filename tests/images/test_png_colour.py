"""PNG's cICP, gAMA and cHRM: the levels that Chromium 156 shows, read back from a canvas.

The figures are those of Chromium 156.0.8078 on Linux with ``--force-color-profile=srgb``: an
``<img>`` of one row, drawn to a 2D canvas, ``getImageData``.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.images.pictures import png

from percert.images import ImageError
from percert.images.load import decode_image

COLOURS = [(10, 10, 10), (128, 128, 128), (200, 50, 20), (20, 200, 50), (30, 60, 220)]
Chunk = tuple[bytes, bytes]

SRGB = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]
P3 = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]
ADOBE = [31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000]
D50 = [34567, 35850, 64000, 33000, 30000, 60000, 15000, 6000]


def gamma(value: int) -> Chunk:
    return b"gAMA", struct.pack(">I", value)


def chroma(values: list[int]) -> Chunk:
    return b"cHRM", struct.pack(">8I", *values)


def code(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> Chunk:
    return b"cICP", bytes([primaries, transfer, matrix, full])


def levels(*chunks: Chunk) -> list[tuple[int, ...]]:
    row = b"".join(map(bytes, COLOURS))
    image = decode_image(png([row], len(COLOURS), 8, 2, *chunks), "x")
    return [tuple(pixel) for pixel in (image * 255).round().int().flatten(1).T.tolist()]


IN_CHROMIUM = {
    "gamma 1.8": (
        [gamma(55556)],
        [(10,) * 3, (146,) * 3, (210, 65, 26), (26, 210, 65), (40, 77, 227)],
    ),
    "linear": (
        [gamma(100000)],
        [(56,) * 3, (188,) * 3, (229, 122, 79), (79, 229, 122), (96, 133, 239)],
    ),
    "gamma 2.5": (
        [gamma(40000)],
        [(1,) * 3, (117,) * 3, (195, 35, 6), (6, 195, 35), (15, 46, 217)],
    ),
    "gamma and sRGB": (
        [gamma(45455), chroma(SRGB)],
        [(3,) * 3, (129,) * 3, (201, 46, 12), (12, 201, 46), (24, 57, 221)],
    ),
    "gamma and P3": (
        [gamma(45455), chroma(P3)],
        [(3,) * 3, (129,) * 3, (219, 14, 0), (0, 205, 0), (6, 58, 230)],
    ),
    "Adobe RGB": (
        [gamma(45455), chroma(ADOBE)],
        [(3,) * 3, (129,) * 3, (232, 46, 9), (0, 201, 12), (0, 57, 225)],
    ),
    "another white": (
        [gamma(45455), chroma(D50)],
        [(3,) * 3, (129,) * 3, (210, 49, 25), (0, 201, 59), (0, 55, 217)],
    ),
    "cICP P3": ([code(12, 13)], [(10,) * 3, (128,) * 3, (218, 24, 0), (0, 204, 0), (17, 61, 229)]),
    "cICP 2020": ([code(9, 13)], [(10,) * 3, (128,) * 3, (248, 0, 0), (0, 211, 0), (0, 59, 231)]),
    "cICP 2020 television": (
        [code(9, 14)],
        [(1,) * 3, (121,) * 3, (245, 0, 0), (0, 208, 0), (0, 47, 229)],
    ),
    "cICP 709": ([code(1, 1)], [(1,) * 3, (121,) * 3, (197, 39, 7), (7, 197, 39), (18, 49, 218)]),
    "cICP linear": (
        [code(1, 8)],
        [(56,) * 3, (188,) * 3, (229, 122, 79), (79, 229, 122), (96, 133, 239)],
    ),
    "cICP 2.2": ([code(1, 4)], [(3,) * 3, (129,) * 3, (201, 46, 12), (12, 201, 46), (24, 57, 221)]),
    "cICP 2.8": ([code(1, 5)], [(0,) * 3, (106,) * 3, (189, 26, 3), (3, 189, 26), (8, 36, 212)]),
    "cICP 470BG": (
        [code(5, 13)],
        [(10,) * 3, (128,) * 3, (204, 50, 21), (0, 200, 55), (28, 60, 219)],
    ),
    "cICP 170M": (
        [code(6, 13)],
        [(10,) * 3, (128,) * 3, (195, 57, 18), (53, 197, 48), (41, 67, 221)],
    ),
    "cICP 470M": ([code(4, 13)], [(10,) * 3, (128,) * 3, (237, 35, 0), (0, 196, 23), (0, 86, 227)]),
    "cICP film": ([code(8, 13)], [(10,) * 3, (128,) * 3, (227, 19, 0), (0, 206, 0), (0, 52, 228)]),
    "cICP above gamma": (
        [code(12, 13), gamma(100000), chroma(SRGB)],
        [(10,) * 3, (128,) * 3, (218, 24, 0), (0, 204, 0), (17, 61, 229)],
    ),
    "cICP above sRGB": (
        [code(12, 13), (b"sRGB", b"\0")],
        [(10,) * 3, (128,) * 3, (218, 24, 0), (0, 204, 0), (17, 61, 229)],
    ),
}


@pytest.mark.parametrize("name", IN_CHROMIUM)
def test_as_chromium_shows_it(name: str) -> None:
    chunks, shown = IN_CHROMIUM[name]
    assert np.abs(np.array(levels(*chunks)) - np.array(shown)).max() <= 2


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [gamma(45455)],  # as most encoders write it: sRGB
        [gamma(43200)],
        [gamma(47700)],
        [gamma(0)],
        [chroma(P3)],  # without gAMA
        [chroma(SRGB)],
        [gamma(45455), chroma([0] * 8)],
        [(b"sRGB", b"\0"), gamma(100000), chroma(P3)],
        [code(1, 13)],
        [code(2, 2)],
        [code(12, 13, full=0)],
        [code(99, 13)],
        [code(1, 9)],
        [(b"cICP", b"\x0c\x0d")],
    ],
)
def test_colours_that_stay(chunks: list[Chunk]) -> None:
    assert levels(*chunks) == COLOURS


def test_an_icc_profile_stands_above_gamma() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = (b"iCCP", b"x\0\0" + zlib.compress(profile))
    assert levels(icc, gamma(100000), chroma(P3)) == COLOURS
    assert levels(icc, code(12, 13)) == levels(code(12, 13))


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused(transfer: int, name: str) -> None:
    with pytest.raises(ImageError, match=rf"high dynamic range \({name}\)"):
        levels(code(9, transfer))


def test_gamma_of_grey_palette_and_alpha() -> None:
    linear = gamma(100000)
    deep = png([struct.pack(">2H", 32768, 65535)], 2, 16, 0, linear)
    exact = 1.055 * (32768 / 65535) ** (1 / 2.4) - 0.055
    assert decode_image(deep, "x")[:, 0, 0].tolist() == pytest.approx([exact] * 3, abs=1e-6)
    shallow = decode_image(png([bytes([128])], 1, 8, 0, linear), "x")
    assert (shallow * 255).round().flatten().tolist() == [188] * 3
    palette = (b"PLTE", bytes([200, 50, 20]))
    found = decode_image(png([b"\0"], 1, 8, 3, linear, palette), "x")
    assert (found * 255).round().flatten().tolist() == [229, 122, 79]
    clear = decode_image(png([bytes([200, 50, 20, 51])], 1, 8, 6, linear), "x")
    over = [round((51 * value + 204 * 255) / 255) for value in (229, 122, 79)]
    assert (clear * 255).round().flatten().tolist() == over


def test_chunks_after_the_picture_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    Image.new("RGB", (1, 1), (200, 50, 20)).save(path)
    data = path.read_bytes()
    late = png([bytes([200, 50, 20])], 1, 8, 2, gamma(100000))
    chunk = late[late.index(b"gAMA") - 4 : late.index(b"gAMA") + 12]
    end = data.index(b"IEND") - 4
    image = decode_image(data[:end] + chunk + data[end:], "x")
    assert (image * 255).round().flatten().tolist() == [200, 50, 20]
