"""Finding and reading many image files: one walk through folders, and what it leaves out.

A bad file stops no other. Paths become text that can be stored, printed, and used for a file of
another kind.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from percert.images.formats import (
    OTHER_SUFFIXES,
    START,
    SUFFIXES,
    ImageError,
    format_of,
    other_kind,
)
from percert.images.load import load_image

#: The longest name of a file, in bytes, on the usual file systems.
LONGEST = 255


def printable_path(path: str | os.PathLike[str]) -> str:
    r"""``path`` as UTF-8 text: bytes that are none are written as escapes.

    >>> printable_path(os.fsdecode(b"caf\xe9.png"))
    'caf\\xe9.png'
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    return text


def fitting_name(name: str, suffix: str = "") -> str:
    """``name + suffix``, shortened where no file could be called so: a hash takes the end's place.

    >>> fitting_name("photo", ".png"), len(fitting_name("x" * 252, ".png"))
    ('photo.png', 255)
    """
    whole = os.fsencode(name + suffix)
    if len(whole) <= LONGEST:
        return name + suffix
    digest = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    room = LONGEST - len(os.fsencode(suffix)) - len(digest)
    return os.fsencode(name)[:room].decode("utf-8", "ignore") + digest + suffix


_Path = str | os.PathLike[str]

#: A link to a folder that was searched already, or to one that holds the folder searched.
CIRCLE = "link to a folder seen already"


@dataclass(frozen=True)
class LeftOut:
    """Something in a folder that is no image that can be read: ``kind`` says what."""

    path: Path
    kind: str


def listed(bad: Iterable[tuple[_Path, str]], name: str = "path") -> list[dict[str, str]]:
    """(path, reason) as JSON has it; names that are no UTF-8 have escapes.

    >>> listed([("a.png", "no such file")])
    [{'path': 'a.png', 'reason': 'no such file'}]
    """
    return [{name: printable_path(one), "reason": printable_path(why)} for one, why in bad]


def listed_left_out(left_out: Iterable[LeftOut]) -> list[dict[str, str]]:
    """What a search for images left out, by path and kind, as JSON has it."""
    return [{"path": printable_path(one.path), "kind": one.kind} for one in left_out]


@dataclass(frozen=True)
class FoundImages:
    """The images that a search found, in order, and what it left out."""

    paths: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class Folder:
    """A folder that was searched: the images in it, by name, and what else is in it."""

    path: Path
    images: list[str]
    left_out: list[LeftOut]
    readable: bool = True


def search_images(paths: Iterable[_Path] | _Path) -> FoundImages:
    """The files among ``paths``, in their order, each directory replaced by the images within.

    Directories are searched recursively, sorted. An image is known by its suffix
    (:data:`percert.images.SUFFIXES`), one without a suffix by its content. Hidden files and
    directories are not looked at. Links to directories are followed, each directory once: what is
    linked comes after what is there, and circles are noticed. A path that is no directory is kept
    as it is, whatever its suffix and even if it is missing, and so is a directory that cannot be
    read: loading it says what is wrong.

    >>> search_images(["b.jpg", "a.txt"]).paths == [Path("b.jpg"), Path("a.txt")]
    True
    """
    found = FoundImages()
    for path in map(Path, [paths] if isinstance(paths, (str, os.PathLike)) else paths):
        if not path.is_dir():
            found.paths.append(path)
            continue
        within: list[Path] = []
        for folder in walk(path):
            within += [folder.path / name for name in folder.images]
            found.left_out.extend(folder.left_out)
            if not folder.readable:
                within.append(folder.path)
        found.paths.extend(sorted(within))
    return found


def find_images(paths: Iterable[_Path] | _Path) -> list[Path]:
    """The images of :func:`search_images` alone.

    >>> [str(path) for path in find_images(["b.jpg", "a.txt"])]
    ['b.jpg', 'a.txt']
    """
    return search_images(paths).paths


def walk(root: Path) -> Iterator[Folder]:
    """Every folder from ``root`` down that is not hidden, sorted, each once; linked ones last."""
    real = root.resolve()
    above = {_identity(folder) for folder in real.parents}
    seen: set[object] = set()
    waiting = [root]
    while waiting:
        unreadable: list[OSError] = []
        start = waiting.pop(0)
        for path, folders, names in os.walk(start, onerror=unreadable.append):
            identity = _identity(Path(path))
            if identity in seen or identity in above:
                folders[:] = []
                yield Folder(Path(path), [], [LeftOut(Path(path), CIRCLE)])
                continue
            seen.add(identity)
            shown = sorted(name for name in folders if not name.startswith("."))
            linked = [name for name in shown if os.path.islink(os.path.join(path, name))]
            waiting += [Path(path, name) for name in linked]
            folders[:] = [name for name in shown if name not in set(linked)]
            yield _sorted_out(Path(path), names)
        for error in unreadable:
            yield Folder(Path(error.filename), [], [], readable=False)


def list_folder(path: Path) -> Folder:
    """The images directly in a folder."""
    with os.scandir(path) as entries:
        return _sorted_out(path, [entry.name for entry in entries if not entry.is_dir()])


def _sorted_out(folder: Path, names: Iterable[str]) -> Folder:
    images, left_out = [], []
    for name in sorted(name for name in names if not name.startswith(".")):
        kind = _kind_left_out(folder / name)
        if kind is None:
            images.append(name)
        else:
            left_out.append(LeftOut(folder / name, kind))
    return Folder(folder, images, left_out)


def _kind_left_out(path: Path) -> str | None:
    """What a file is that is no image; ``None`` for an image."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return None
    if suffix:
        return OTHER_SUFFIXES.get(suffix, suffix)
    try:
        if not path.is_file():
            return "no regular file"
        with path.open("rb") as stream:
            start = stream.read(START)
    except OSError:
        return "unreadable file without a suffix"
    if format_of(start) is not None:
        return None
    return other_kind(start) or "file without a suffix"


def _identity(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return os.fspath(path)
    return found.st_dev, found.st_ino


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


#: Endings of images that lists leave out, as ImageNet's own do.
_ENDINGS = ("", ".JPEG", ".jpg", ".jpeg", ".png")


def listed_file(folder: Path, name: str) -> Path:
    """The file of ``folder`` that a list calls ``name``: by its path there, or without its ending.

    ImageNet's images may also lie in a folder of their class: ``n02123045_7`` is
    ``n02123045/n02123045_7.JPEG``. Where none is there, ``folder / name``.
    """
    places = [folder / name]
    wnid, joined, _ = name.partition("_")
    if joined and "/" not in name:
        places.append(folder / wnid / name)
    for place in places:
        for ending in _ENDINGS:
            found = place.with_name(place.name + ending)
            if found.is_file():
                return found
    return folder / name
