"""Finding images, and going on after a bad one."""

from pathlib import Path

import pytest
import torch

from percert.images import BadImage, ImageError, find_images, iter_images, load_images, save_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.PNG", "sub/deep/c.webp", "sub/d.tif", ".hidden.png", ".cache/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(torch.zeros(3, 2, 3), tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"no")
    (tmp_path / "notes.txt").write_bytes(b"text")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_directories_are_expanded(folder: Path) -> None:
    names = [path.relative_to(folder).as_posix() for path in find_images([folder])]
    assert names == ["a.PNG", "b.png", "bad.jpg", "sub/d.tif", "sub/deep/c.webp"]
    assert find_images(folder) == find_images(str(folder)) == find_images([folder])


def test_files_stay_as_given(folder: Path) -> None:
    given = [folder / "notes.txt", folder / "none.png", folder / "b.png", folder / "b.png"]
    assert find_images(given) == given
    mixed = find_images([folder / "b.png", folder / "sub", "none.jpg"])
    assert [path.name for path in mixed] == ["b.png", "d.tif", "c.webp", "none.jpg"]


def test_links(folder: Path) -> None:
    (folder / "sub" / "gone.png").symlink_to("nowhere")
    (folder / "sub" / "up").symlink_to(folder)  # a circle
    assert [path.name for path in find_images([folder / "sub"])] == ["d.tif", "c.webp", "gone.png"]


def test_an_unreadable_directory_is_not_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from os import scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)  # root may read everything
    monkeypatch.setattr("os.access", lambda *_: False)
    found = find_images([folder / "sub"])
    assert found == [folder / "sub" / "d.tif", folder / "sub" / "deep"]
    assert load_images(found).bad == [BadImage(found[1], "an unreadable directory")]


def test_a_batch_goes_on_after_a_bad_file(folder: Path) -> None:
    loaded = load_images(find_images([folder, folder / "none.png"]))
    assert [path.name for path in loaded.paths] == ["a.PNG", "b.png", "d.tif", "c.webp"]
    assert all(image.shape == (3, 2, 3) for image in loaded.images)
    assert [(bad.path.name, bad.reason) for bad in loaded.bad] == [
        ("bad.jpg", "not an image of an accepted format (JPEG, PNG, WebP, BMP, TIFF and AVIF)"),
        ("none.png", "no such file"),
    ]


def test_reading_is_lazy_and_in_order(folder: Path) -> None:
    paths = iter([folder / "bad.jpg", folder / "b.png", folder / "a.PNG"])
    images = iter_images(paths)
    path, error = next(images)
    assert path.name == "bad.jpg"
    assert isinstance(error, ImageError)
    path, image = next(images)
    assert path.name == "b.png"
    assert isinstance(image, torch.Tensor)
    assert next(paths).name == "a.PNG"  # not yet taken


def test_max_memory_holds_for_each(folder: Path) -> None:
    assert len(load_images(find_images(folder), max_memory=5).bad) == 5
