"""Many image files: reading on after a bad one."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from percert.images.error import ImageError
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
