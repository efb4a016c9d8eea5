"""A file that is not one sound picture: one ImageError that names the file and the reason."""

import concurrent.futures
import os
import pickle
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.images.pictures import encode, every_kind, png, smooth, tiff

from percert.images import ImageError, iter_images, load_image

PICTURE = Image.fromarray(smooth())
OTHER = PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def reason(path: Path, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path, **options)
    message = str(caught.value)
    assert message == f"{path}: {caught.value.reason}"
    assert "\n" not in caught.value.reason
    assert caught.value.path == path
    return caught.value.reason


def reason_of(tmp_path: Path, data: bytes, **options: int) -> str:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    return reason(path, **options)


def test_missing(tmp_path: Path) -> None:
    assert reason(tmp_path / "none.png") == "no such file"


def test_empty(tmp_path: Path) -> None:
    assert reason_of(tmp_path, b"") == "an empty file (0 bytes)"


def test_directory(tmp_path: Path) -> None:
    assert reason(tmp_path) == "a directory, not an image file"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "not a regular file"


def test_circular_link(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert reason(tmp_path / "loop.png").startswith("cannot be opened (")


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    assert reason(path) == "cannot be opened (Permission denied)"


def test_impossible_path() -> None:
    assert reason(Path("a\0b.png")).startswith("not a valid path (")


@pytest.mark.parametrize("data", [b"x", b"hello world, this is text\n" * 99, bytes(5000)])
def test_no_image(tmp_path: Path, data: bytes) -> None:
    assert reason_of(tmp_path, data) == (
        "not an image of an accepted format (JPEG, PNG, WebP, BMP, TIFF and AVIF)"
    )


@pytest.mark.parametrize(("format_", "name"), [("GIF", "a GIF file"), ("PDF", "a PDF file")])
def test_other_formats_are_named(tmp_path: Path, format_: str, name: str) -> None:
    assert reason_of(tmp_path, encode(PICTURE, format_)) == (
        f"{name}, but only JPEG, PNG, WebP, BMP, TIFF and AVIF are accepted"
    )


@pytest.mark.parametrize("format_", ["PPM", "TGA", "ICO", "PCX", "SGI", "DDS", "JPEG2000"])
def test_whatever_else_pillow_reads_is_refused(tmp_path: Path, format_: str) -> None:
    try:
        data = encode(PICTURE, format_)
    except (KeyError, OSError):
        pytest.skip(f"this pillow does not write {format_}")
    assert "JPEG, PNG, WebP, BMP, TIFF and AVIF" in reason_of(tmp_path, data)


@pytest.mark.parametrize("name", [n for n in every_kind() if n != "fax.tif"])
def test_truncated(tmp_path: Path, name: str) -> None:
    data = every_kind()[name]
    found = reason_of(tmp_path, data[: len(data) // 2])
    assert "damaged" in found


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"II*\0\x08\0\0\0", "TIFF"),
    ],
)
def test_a_bare_magic_number(tmp_path: Path, magic: bytes, name: str) -> None:
    found = reason_of(tmp_path, magic)
    assert "damaged" in found, name


def test_a_kind_of_tiff_that_pillow_cannot_read(tmp_path: Path) -> None:
    floats = np.zeros((2, 2, 3), dtype="<f4").tobytes()
    assert reason_of(tmp_path, tiff(floats, 2, 2, [32, 32, 32], 2, 3)) == (
        "a TIFF file whose header is damaged or of a kind that cannot be decoded"
    )


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_several_frames(tmp_path: Path, format_: str) -> None:
    data = encode(PICTURE, format_, save_all=True, append_images=[OTHER])
    assert reason_of(tmp_path, data) == (
        "animated or of several pages, but only single images are accepted"
    )


def declaring(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header claims ``width * height``."""
    data = bytearray(png([b"\0\0\0"], 1, 8, 2))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.filterwarnings("error")
def test_decompression_bombs(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    filters = list(warnings.filters)
    assert reason_of(tmp_path, declaring(12000, 15000), max_pixels=10**9).startswith(
        "refused by pillow, Image size (180000000 pixels) exceeds limit of 178956970 pixels"
    )
    # Here pillow would only warn.
    assert reason_of(tmp_path, declaring(10000, 10000), max_pixels=10**7) == (
        "declares 10000 x 10000 = 100000000 pixels, more than max_pixels = 10000000 "
        "(a decompression bomb?)"
    )
    assert "bomb" in reason_of(tmp_path, declaring(2**31 - 1, 2**31 - 1))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == filters


def test_bombs_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    for name, data in every_kind().items():
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
        monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", decode)
        monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.load", decode)
        assert "more than max_pixels = 719" in reason_of(tmp_path, data, max_pixels=719), name


def test_max_pixels_is_inclusive(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    PICTURE.save(path)
    assert load_image(path, max_pixels=720).shape == (3, 24, 30)
    with pytest.raises(ValueError, match="max_pixels: expected at least 1, found 0"):
        load_image(path, max_pixels=0)


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a.png", "bad")))
    assert (str(error), error.path, error.reason) == ("a.png: bad", Path("a.png"), "bad")
    assert isinstance(error, ValueError)


def damaged(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.4:
        return data[: chance.randrange(len(data))]
    altered = bytearray(data)
    # Half of the damage goes to the header, where the odd exceptions are.
    reach = len(altered) if chance.random() < 0.5 else min(len(altered), 160)
    for _ in range(chance.randint(1, 8)):
        altered[chance.randrange(reach)] = chance.randrange(256)
    return bytes(altered)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", every_kind())
def test_random_damage(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Success or ImageError; no other exception, no warning, nothing on stderr, no open file."""
    chance = random.Random(name)
    data = every_kind()[name]
    path = tmp_path / name
    before = len(os.listdir("/proc/self/fd"))
    outcomes = {"image": 0, "error": 0}
    for _ in range(150):
        path.write_bytes(damaged(data, chance))
        [(_, image)] = iter_images([path], max_memory=64 << 20)
        if isinstance(image, ImageError):
            outcomes["error"] += 1
            assert str(image).startswith(f"{path}: ")
        else:
            outcomes["image"] += 1
            assert image.isfinite().all()
            assert 0 <= image.min() <= image.max() <= 1
    assert outcomes["error"] > 10
    assert len(os.listdir("/proc/self/fd")) == before
    if threading.active_count() == 1:  # else libtiff's lines are let through
        assert capfd.readouterr().err == ""


def test_threads_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    paths = []
    chance = random.Random(1)
    for number in range(60):
        paths.append(tmp_path / f"{number}.tif")
        paths[-1].write_bytes(damaged(every_kind()["raw.tif"], chance))
    filters = list(warnings.filters)

    def attempt(path: Path) -> str:
        try:
            return str(load_image(path).shape)
        except ImageError as error:
            return error.reason

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(attempt, paths))
    assert together == [attempt(path) for path in paths]
    assert warnings.filters == filters


def test_a_good_file_is_closed(tmp_path: Path) -> None:
    for name, data in every_kind().items():
        path = tmp_path / name
        path.write_bytes(data)
        before = len(os.listdir("/proc/self/fd"))
        assert torch.isfinite(load_image(path)).all()
        assert len(os.listdir("/proc/self/fd")) == before, name
