"""What decoding takes is known before, within bounds, and limited."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.images.pictures import oriented

from percert.images import ImageError, load_image
from percert.images.load import MAX_MEMORY, decode_image, memory_limit, parse_size

SIDE = 2000
#: How the peaks are measured: in a process of its own, each after a small picture of the kind.
PROBE = """
import sys
from pathlib import Path
import percert.images.load as load

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

estimates = []
def spy(*given):
    estimates.append(known(*given))
    return estimates[-1]
known, load.decoding_memory = load.decoding_memory, spy
for name in sys.argv[1:]:
    data, small = (Path(name, part).read_bytes() for part in ("large", "small"))
    load.decode_image(small, "small")
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    load.decode_image(data, "large")
    print(name, status("VmHWM") - before + len(data), estimates[-1])
"""
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "turned.jpg": ("RGB", "JPEG", {"exif": 6}),
    "progressive.jpg": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "cmyk.jpg": ("CMYK", "JPEG", {"progressive": True}),
    "alpha.png": ("RGBA", "PNG", {"compress_level": 1}),
    "palette.png": ("P", "PNG", {"compress_level": 1}),
    "deep.png": ("I;16", "PNG", {"compress_level": 1}),
    "alpha.webp": ("RGBA", "WEBP", {"lossless": True, "method": 0, "quality": 0}),
    "alpha.avif": ("RGBA", "AVIF", {"speed": 10}),
    "colour.bmp": ("RGB", "BMP", {}),
    "alpha.tif": ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    "turned.tif": ("RGB", "TIFF", {"compression": "tiff_lzw", "exif": 6}),
    "float.tif": ("F", "TIFF", {"compression": "tiff_lzw"}),
}


def picture(mode: str, side: int) -> Image.Image:
    y, x = np.mgrid[0:side, 0:side]
    planes = [x * 255 // side, y * 255 // side, (x // 7 ^ y // 5) & 255, 255 - x * 255 // side]
    pixels = np.stack(planes, -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(mode: str, side: int, format_: str, options: dict[str, Any]) -> bytes:
    image = picture("RGB" if mode in ("I;16", "F") else mode, side)
    if mode in ("I;16", "F"):
        grey = np.asarray(image)[..., 0]
        deep = grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32) / 255
        image = Image.fromarray(deep)
    exif = {"exif": oriented(options["exif"])} if "exif" in options else {}
    stream = io.BytesIO()
    image.save(stream, format_, **{**options, **exif})
    return stream.getvalue()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_estimates_are_above_the_peaks_and_near_them(tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        try:
            small = encoded(kind[0], 32, *kind[1:])
        except (KeyError, OSError):
            assert name == "alpha.avif", "only this one may be missing from pillow"
            continue
        (tmp_path / name).mkdir()
        (tmp_path / name / "small").write_bytes(small)
        (tmp_path / name / "large").write_bytes(encoded(kind[0], SIDE, *kind[1:]))
    command = [sys.executable, "-c", PROBE, *map(str, sorted(tmp_path.iterdir()))]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(told.splitlines()) >= len(KINDS) - 1
    for line in told.splitlines():
        name, measured, estimated = line.rsplit(" ", 2)
        assert int(measured) > 8 * SIDE**2, name  # some of it lay free before
        assert int(measured) <= int(estimated) <= 2.5 * int(measured) + (32 << 20), line


def test_the_limit_holds_before_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("RGB", 4000, "PNG", {})

    def decode(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(
        ImageError,
        match=r"declares 4000 x 4000 pixels, which take 27\d\.\d MiB to decode, more than "
        r"max_memory = 100\.0 MiB \(a decompression bomb\?\)",
    ):
        decode_image(data, "x", max_memory=100 << 20)


def test_a_larger_file_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole
    with pytest.raises(ImageError, match=r"a file of 1\.0 TiB, more than max_memory = 2\.0 GiB"):
        load_image(path)


def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERCERT_MAX_MEMORY", raising=False)
    assert memory_limit() == MAX_MEMORY == 2**31
    monkeypatch.setenv("PERCERT_MAX_MEMORY", "48MiB")
    with pytest.raises(ImageError, match=r"more than max_memory = 48\.0 MiB"):
        decode_image(encoded("RGB", 2000, "PNG", {}), "x")
    monkeypatch.setenv("PERCERT_MAX_MEMORY", "much")
    with pytest.raises(ValueError, match="PERCERT_MAX_MEMORY: expected a size such as 2GiB"):
        decode_image(b"", "x")


@pytest.mark.parametrize("text", ["", "-1", "0", "2GX", "1e9", "GiB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 2GiB"):
        parse_size(text)
