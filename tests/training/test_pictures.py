"""Pictures of several sources: read once, of their classes, and kept."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.tiny_world import make_world

from percert.training.copies.pictures import UNLABELLED, PictureSource, draw_pictures, read_pictures

pytest.importorskip("pyarrow", reason="some sources are parquet")


def _folders(root: Path, classes: int = 3, each: int = 4) -> Path:
    generator = np.random.default_rng(1)
    for label in range(classes):
        folder = root / f"class-{label}" / "images"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 256, (24, 30, 3), dtype=np.uint8)
            pixels[..., 0] = 80 * label
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def test_folders_are_classes_and_may_be_left_out(tmp_path: Path) -> None:
    _folders(tmp_path / "data")
    source = PictureSource(path="data", share=6, side=16, classes=True, leave_out=("class-1",))
    found = read_pictures(tmp_path, source, 0, tmp_path / "cache")
    assert found.images.shape == (8, 3, 16, 16)
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert set(found.images[:, 0].flatten(1).float().median(1).values.tolist()) == {0.0, 160.0}
    drawn, rows = draw_pictures(found, source, 32, torch.Generator().manual_seed(0))
    assert drawn.shape == (6, 3, 32, 32)
    labels = found.labels[rows]
    assert torch.equal(labels[::2], labels[1::2])


def test_some_are_held_out_and_some_drawn(tmp_path: Path) -> None:
    _folders(tmp_path / "data")
    cache = tmp_path / "cache"

    def count(**settings: int) -> int:
        source = PictureSource(path="data", side=16, **settings)
        found = read_pictures(tmp_path, source, 0, cache)
        assert found.labels.eq(UNLABELLED).all()
        return len(found)

    assert count() == 12
    assert count(hold_out=4) == 9
    source = PictureSource(path="data", side=16, hold_out=4, count=2)
    assert len(read_pictures(tmp_path, source, 0, cache, held_out=True)) == 3
    assert count(count=5) == 5
    assert count(count=50) == 12


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_world(tmp_path / "data")
    source = PictureSource(path="tiny-imagenet-32/train.parquet", side=20, classes=True, share=4)
    first = read_pictures(recipe.parent, source, 0, tmp_path)
    assert first.labels.bincount().tolist() == [3, 3, 3, 3]
    decoded: list[str] = []

    def decode(_: bytes, name: str) -> torch.Tensor:
        decoded.append(name)
        return torch.zeros(3, 20, 20)

    monkeypatch.setattr("percert.training.copies.pictures.decode_image", decode)
    again = read_pictures(recipe.parent, source, 0, tmp_path)
    assert torch.equal(again.images, first.images)
    assert not decoded
    os.utime(recipe.parent / source.path, (1, 1))  # another file, for all that one can know
    assert not read_pictures(recipe.parent, source, 0, tmp_path).images.any()
    assert len(decoded) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "nowhere"}, "no such folder"),
        ({"path": "data", "leave_out": ("class-0", "class-1", "class-2"), "classes": True}, "no p"),
        ({"path": "data", "count": 1, "classes": True}, "expected two pictures of a class"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    _folders(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        read_pictures(tmp_path, PictureSource(**settings), 0, tmp_path / "cache")  # type: ignore[arg-type]


def test_odd_shares_have_no_pairs() -> None:
    with pytest.raises(ValueError, match="expected an even share, for pairs of a class, found 3"):
        PictureSource(share=3, classes=True)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    _folders(tmp_path / "data")
    (tmp_path / "data" / "class-0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ValueError, match=r"broken\.png"):
        read_pictures(tmp_path, PictureSource(path="data"), 0, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
