"""One walk: links, circles, files without a suffix, and what is left out."""

import os
from pathlib import Path

import torch
from PIL import Image
from tests.images.pictures import encode, smooth

from percert.data.judgements import bapps_folders
from percert.images import find_images, save_image, search_images
from percert.images.walk import fitting_name, printable_path
from percert.training.image_sources import FolderSource

PICTURE = Image.fromarray(smooth())


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(torch.zeros(3, 2, 3), path)
    return path


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "cats" / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert names(root) == ["linked/cats/a.png"]
    source = FolderSource(root)
    assert [entry.path for shard in source.shards() for entry in source.entries(shard)] == [
        str(root / "linked" / "cats" / "a.png")
    ]


def test_what_is_there_comes_under_its_own_name_and_once(tmp_path: Path) -> None:
    put(tmp_path / "real" / "a.png")
    for name in ("a-link", "z-link"):
        (tmp_path / name).symlink_to("real")
    found = search_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == ["real/a.png"]
    assert [one.path.name for one in found.left_out] == ["a-link", "z-link"]
    assert {one.kind for one in found.left_out} == {"link to a folder seen already"}


def test_circles_end(tmp_path: Path) -> None:
    for level in range(25):  # followed naively: 2 ** 25 ways
        folder = tmp_path / f"d{level}"
        folder.mkdir()
        for name in ("left", "right"):
            (folder / name).symlink_to(tmp_path / f"d{level + 1}")
        (folder / "up").symlink_to(tmp_path)
        (folder / "self").symlink_to(folder)
    put(tmp_path / "d25" / "a.png")
    start = tmp_path / "start"
    start.mkdir()
    (start / "first").symlink_to(tmp_path / "d0")
    found = find_images(start)
    assert [path.name for path in found] == ["a.png"]
    assert found[0].resolve() == tmp_path / "d25" / "a.png"


def test_files_without_a_suffix_are_known_by_content(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    for name, format_ in (("photo", "PNG"), ("scan", "TIFF"), ("moving", "GIF")):
        (tmp_path / name).write_bytes(encode(PICTURE, format_))
    (tmp_path / "README").write_text("text")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    found = search_images(tmp_path)
    assert [path.name for path in found.paths] == ["a.png", "photo", "scan"]
    assert {one.path.name: one.kind for one in found.left_out} == {
        "README": "file without a suffix",
        "empty": "file without a suffix",
        "moving": "GIF",
        "pipe": "no regular file",
    }


def test_what_is_left_out_is_named_by_kind(tmp_path: Path) -> None:
    for name in ("a.gif", "b.JP2", "c.tga", "d.ppm", "e.CR2", "f.txt", ".hidden.gif"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("g.heic", "h.avif"):  # read, or refused with a reason
        (tmp_path / name).write_bytes(b"x")
    found = search_images([tmp_path])
    assert [path.name for path in found.paths] == ["g.heic", "h.avif"]
    assert [one.kind for one in found.left_out] == [
        "GIF",
        "JPEG 2000",
        "TGA",
        "PPM",
        "raw",
        ".txt",
    ]


def test_bapps_behind_a_link(tmp_path: Path) -> None:
    for part in ("ref", "p0", "p1", "judge"):
        (tmp_path / "real" / "2afc" / "val" / "cnn" / part).mkdir(parents=True)
    (tmp_path / "data" / "2afc").mkdir(parents=True)
    (tmp_path / "data" / "2afc" / "val").symlink_to(tmp_path / "real" / "2afc" / "val")
    assert [(split, path.name) for split, path in bapps_folders(tmp_path / "data")] == [
        ("val", "cnn")
    ]


def test_names_that_fit() -> None:
    assert printable_path("ünï.png") == "ünï.png"
    assert printable_path(os.fsdecode(b"a/\xff.png")) == "a/\\xff.png"
    long = "ü" * 126
    assert len(fitting_name(long, ".png").encode()) <= 255
    assert fitting_name(long, ".png").endswith(".png")
    assert fitting_name(long + "a", ".png") != fitting_name(long + "b", ".png")
