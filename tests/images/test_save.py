"""Saving: without loss, all or nothing."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from percert.images import ImageError, find_images, load_image, round_to_8bit, save_image

SUFFIXES = [".png", ".PNG", ".webp", ".bmp", ".tif", ".tiff"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_reads_back_bit_identical(
    tmp_path: Path, suffix: str, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = round_to_8bit(torch.rand(3, height, width, generator=generator))
    path = tmp_path / f"picture{suffix}"
    save_image(image, path)
    assert torch.equal(load_image(path), image)
    assert os.listdir(tmp_path) == [path.name]


def test_every_level_survives(tmp_path: Path) -> None:
    levels = (torch.arange(256.0) / 255).view(1, 16, 16).expand(3, 16, 16)
    assert torch.equal(round_to_8bit(levels), levels)
    for suffix in SUFFIXES:
        save_image(levels, tmp_path / f"levels{suffix}")
        assert torch.equal(load_image(tmp_path / f"levels{suffix}"), levels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    image = torch.rand(3, 5, 7, dtype=dtype, requires_grad=True)
    save_image(image, tmp_path / "picture.png")
    expected = round_to_8bit(image.detach().float())
    assert torch.equal(load_image(tmp_path / "picture.png"), expected)


def test_rounding_is_to_the_nearest_level() -> None:
    images = torch.rand(2, 3, 50, 50, dtype=torch.float64)
    rounded = round_to_8bit(images)
    assert (rounded - images).abs().max() <= 0.5 / 255 + 1e-12
    assert torch.equal(rounded, round_to_8bit(rounded))
    assert torch.equal(round_to_8bit(torch.tensor([-0.2, 1.2])), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.gif", "a", "a.PDF"])
def test_lossy_and_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"cannot be saved without loss as .*; use \.png"):
        save_image(torch.zeros(3, 2, 2), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for bad in (
        torch.zeros(1, 3, 2, 2),
        torch.zeros(1, 2, 2),
        torch.full((3, 2, 2), 255.0),
        torch.full((3, 2, 2), float("nan")),
        torch.zeros(3, 2, 2, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match=r"^image: "):
            save_image(bad, tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    old = torch.zeros(3, 2, 2)
    save_image(old, path)

    def fail(self: object, stream: object, *_: object, **__: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]  # whatever pillow is given
        assert find_images(tmp_path) == [path], "a half-written file is found"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", fail)
    with pytest.raises(ImageError, match=r"a\.png: cannot be written \(No space left on device\)"):
        save_image(torch.ones(3, 2, 2), path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.png"]
    assert torch.equal(load_image(path), old)


def test_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_image(torch.zeros(3, 2, 2), path)
    save_image(torch.ones(3, 4, 2), path)
    assert torch.equal(load_image(path), torch.ones(3, 4, 2))


def test_missing_folder_and_too_large(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot be written \(No such file or directory\)"):
        save_image(torch.zeros(3, 2, 2), tmp_path / "none" / "a.png")
    with pytest.raises(ImageError, match=r"wide\.webp: cannot be written"):
        save_image(torch.zeros(3, 1, 16384), tmp_path / "wide.webp")  # WebP ends at 16383
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    save_image(torch.zeros(3, 2, 2), tmp_path / "a.png")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
