"""Many image files: finding them, and reading on after a bad one."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from percert.images.error import ImageError
from percert.images.formats import SUFFIXES
from percert.images.load import load_image

_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class BadImage:
    """A file that could not be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class LoadedImages:
    """What came of a batch of files: ``images[i]``, ``(3, h_i, w_i)``, is from ``paths[i]``."""

    images: list[Tensor]
    paths: list[Path]
    bad: list[BadImage]


def find_images(paths: Iterable[_Path] | _Path) -> list[Path]:
    """The files among ``paths``, in their order, each directory replaced by the images within.

    Directories are searched recursively by suffix (:data:`percert.images.SUFFIXES`), sorted,
    without hidden files and hidden directories, and without following links to directories. A
    path that is no directory is kept as it is, whatever its suffix and even if it is missing, and
    so is a directory that cannot be read: loading it says what is wrong.

    >>> [str(path) for path in find_images(["b.jpg", "a.txt"])]
    ['b.jpg', 'a.txt']
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(_walk(path)) if path.is_dir() else [path]
    return found


def _walk(directory: Path) -> Iterator[Path]:
    unreadable: list[Path] = []
    for folder, subfolders, names in os.walk(
        directory, onerror=lambda error: unreadable.append(Path(error.filename))
    ):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(folder, name)
    yield from unreadable


def iter_images(
    paths: Iterable[_Path], *, max_memory: int | None = None
) -> Iterator[tuple[Path, Tensor | ImageError]]:
    """Read the files one by one, as they are asked for: each path with its image or its error.

    >>> [(str(path), str(image)) for path, image in iter_images(["missing.png"])]
    [('missing.png', 'missing.png: no such file')]
    """
    for path in map(Path, paths):
        try:
            image: Tensor | ImageError = load_image(path, max_memory=max_memory)
        except ImageError as error:
            image = error
        yield path, image


def load_images(paths: Iterable[_Path], *, max_memory: int | None = None) -> LoadedImages:
    """Read all the files, going on after bad ones; see :func:`percert.images.load_image`.

    >>> load_images(["missing.png"]).bad
    [BadImage(path=...Path('missing.png'), reason='no such file')]
    """
    loaded = LoadedImages([], [], [])
    for path, image in iter_images(paths, max_memory=max_memory):
        if isinstance(image, ImageError):
            loaded.bad.append(BadImage(path, image.reason))
        else:
            loaded.images.append(image)
            loaded.paths.append(path)
    return loaded
