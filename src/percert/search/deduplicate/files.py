"""The files behind a collection's duplicates, as they lie on the disk, and which one to keep."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percert.images import ImageError
from percert.images.header import read_header
from percert.search.deduplicate.choices import KEEPS, Keep
from percert.search.tables.files import key_path


@dataclass(frozen=True)
class StoredFile:
    """A file that a store knows, unchanged since: ``path`` is what the store calls it.

    ``id`` is the SHA-256 of its bytes, ``height`` and ``width`` are those of its image in pixels.
    """

    path: str
    id: str
    bytes: int
    mtime_ns: int
    height: int
    width: int

    @property
    def place(self) -> Path:
        """Where it lies."""
        return key_path(self.path)[0]


def changed(path: Path, size: int, mtime_ns: int) -> str | None:
    """Why ``path`` is not the regular file of this size and time of change, ``None`` if it is.

    >>> changed(Path("/no/such/file.png"), 1, 1)
    'is gone'
    """
    found = _unchanged(path, size, mtime_ns)
    return found if isinstance(found, str) else None


def _unchanged(path: Path, size: int, mtime_ns: int) -> os.stat_result | str:
    """What the system says of the file, or why it is not that of this size and time of change."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is gone"
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if found.st_size != size or found.st_mtime_ns != mtime_ns:
        return "has changed since"
    return found


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file: through linked folders, or as hard links.

    >>> same_file(Path("/no/such/file"), Path("/no/such/file"))
    False
    """
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def stored_files(
    rows: Iterable[dict[str, Any]], sizes: dict[str, tuple[int, int]]
) -> tuple[list[StoredFile], list[tuple[str, str]]]:
    """The files of ``rows`` of a store that can be acted on, and the others, each with the reason.

    A row has ``path``, ``id``, ``bytes`` and ``mtime_ns``; ``sizes`` are (height, width) by id.
    Left out are rows of parquet files, symbolic links, what is gone or has changed, and every path
    to a file that another path leads to already.
    """
    found: list[StoredFile] = []
    left_out: list[tuple[str, str]] = []
    seen: dict[tuple[int, int], str] = {}
    for row in sorted(rows, key=lambda one: str(one["path"])):
        place, number = key_path(row["path"])
        if number is not None:
            left_out.append((row["path"], "is a row of a parquet file"))
            continue
        status = _unchanged(place, row["bytes"], row["mtime_ns"])
        if isinstance(status, str):
            left_out.append((row["path"], status))
            continue
        identity = status.st_dev, status.st_ino
        if identity in seen:
            left_out.append((row["path"], f"is the same file as {seen[identity]} already"))
            continue
        seen[identity] = row["path"]
        found.append(StoredFile(**row, height=sizes[row["id"]][0], width=sizes[row["id"]][1]))
    return found, left_out


def preference(keep: Keep, protected: Sequence[Path] = ()) -> Callable[[StoredFile], Any]:
    """The order of files, the first to be kept: ``sorted(files, key=preference("best"))``.

    ``"largest"`` has the most pixels, then the most bytes; ``"oldest"`` and ``"newest"`` go by the
    time of change. ``"best"`` has the most pixels, then says from which camera it is or when it was
    taken, then was compressed least (a JPEG's mean quantisation; other formats stand before), then
    has the most bytes: all of it as the file says, so that an enlarged copy passes for a better
    one. What lies below a ``protected`` folder comes first in any case. What ties goes by time and
    name. Raises ``ValueError`` for another name.
    """
    if keep not in KEEPS:
        raise ValueError(f"keep: expected one of {', '.join(KEEPS)}, found {keep!r}")
    own: dict[Keep, Callable[[StoredFile], tuple[float, ...]]] = {
        "best": lambda one: (-one.height * one.width, *_told(one.place), -one.bytes),
        "largest": lambda one: (-one.height * one.width, -one.bytes),
        "oldest": lambda one: (),
        "newest": lambda one: (-one.mtime_ns,),
    }
    of_file = own[keep]

    def key(one: StoredFile) -> Any:
        return not is_below(one.place, protected), *of_file(one), one.mtime_ns, one.path

    return key


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether ``path`` is one of ``folders`` or lies below one, links followed or not.

    >>> is_below(Path("/a/b/c.png"), [Path("/a")]), is_below(Path("/ab/c.png"), [Path("/a")])
    (True, False)
    """
    if not folders:
        return False
    places = [Path(way(path)) for way in (os.path.abspath, os.path.realpath)]
    roots = [Path(way(one)) for one in folders for way in (os.path.abspath, os.path.realpath)]
    return any(place.is_relative_to(root) for place in places for root in roots)


def _told(path: Path) -> tuple[float, float]:
    """What the file says of its making: 0 if from a camera, and how coarsely it was quantised."""
    try:
        header = read_header(path)
    except ImageError:  # damaged, or of a format that pillow lacks: it is not preferred
        return 1.0, float("inf")
    steps = header.quantisation
    return 0.0 if header.from_camera else 1.0, sum(steps) / len(steps) if steps else 0.0


def described(one: StoredFile) -> str:
    """The file in words.

    >>> described(StoredFile("/a.png", "00", 2048, 0, 20, 30))
    '30 x 20, 2.0 KiB, 1970-01-01'
    """
    from datetime import datetime, timezone

    when = datetime.fromtimestamp(one.mtime_ns / 1e9, timezone.utc)
    return f"{one.width} x {one.height}, {data_size(one.bytes)}, {when:%Y-%m-%d}"


def data_size(count: int) -> str:
    """A number of bytes in words.

    >>> data_size(100), data_size(2048), data_size(3 * 2**20)
    ('100 bytes', '2.0 KiB', '3.0 MiB')
    """
    for unit, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << unit:
            return f"{count / (1 << unit):.1f} {name}"
    return f"{count} bytes"
