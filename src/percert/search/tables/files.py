"""The files behind a store's images: their keys, and which of them are missing on the disk.

A file that is not where it was may be deleted, or lie on a disk that is not there now. It is taken
for deleted only while its root is there: the innermost folder that was added and holds it, or the
file's own folder where none was.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from percert.data.labelled_images import ParquetImages, is_parquet
from percert.images import SUFFIXES, find_images
from percert.search.tables.location import Tables, open_roots, persist, writing

#: What :func:`path_key` escapes: a backslash, and a byte that is no UTF-8.
_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def path_key(path: str | os.PathLike[str]) -> str:
    r"""The absolute ``path`` as text that no other path gives, whatever bytes its name holds.

    Text that is no UTF-8 cannot be stored; such a path is escaped, and marked by ``bytes:``, with
    which no absolute path begins. Links are not resolved.

    >>> path_key("/photos/../a.png")
    '/a.png'
    >>> path_key(os.fsdecode(b"/caf\xe9.png"))
    'bytes:/caf\\xe9.png'
    """
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
        return f"bytes:{escaped}"
    return name


def row_key(parquet: Path, row: int) -> str:
    """The name of a row of a parquet file.

    >>> row_key(Path("/data/train.parquet"), 7)
    'parquet:/data/train.parquet#7'
    """
    return f"parquet:{path_key(parquet)}#{row}"


def key_path(key: str) -> tuple[Path, int | None]:
    r"""The path that a store calls ``key``, and the row of a parquet file: what names it undone.

    >>> key_path("/a.png"), key_path("parquet:/data/train.parquet#7")
    ((...Path('/a.png'), None), (...Path('/data/train.parquet'), 7))
    >>> os.fsencode(key_path("bytes:/caf\\xe9.png")[0])
    b'/caf\xe9.png'
    """
    row = None
    if key.startswith("parquet:"):
        key, _, number = key.removeprefix("parquet:").rpartition("#")
        row = int(number)
    if key.startswith("bytes:"):
        escaped = key.removeprefix("bytes:").encode()
        key = os.fsdecode(_ESCAPED.sub(_unescaped, escaped))
    return Path(key), row


def _unescaped(found: "re.Match[bytes]") -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else b"\\"


def is_missing(key: str) -> bool:
    """Whether what a store calls ``key`` is not there: no file, or no such row.

    What cannot be looked at (no permission, a disk that fails) is not missing.

    >>> is_missing("/no/such/file.png"), is_missing(os.path.abspath(__file__))
    (True, False)
    """
    path, row = key_path(key)
    return _is_missing(path, row)


def _is_missing(path: Path, row: int | None) -> bool:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    if row is None:
        return False
    rows = _parquet_rows(path, found.st_size, found.st_mtime_ns)
    return rows is not None and row >= rows


@lru_cache(maxsize=1024)
def _parquet_rows(path: Path, size: int, mtime_ns: int) -> int | None:
    """The rows of a parquet file as it is now, ``None`` where it cannot be read."""
    try:
        return len(ParquetImages(path, extra="search"))
    except (OSError, ValueError):
        return None


def read_roots(path: str) -> list[str]:
    """The folders that were added to the store at ``path``; an older one may have kept none."""
    table = open_roots(path)
    return [] if table is None else sorted(table.search().to_arrow()["path"].to_pylist())


def remember_roots(path: str, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Keep those of ``inputs`` that are folders, before anything of them is added."""
    folders = {path_key(one) for one in inputs if os.path.isdir(one)}
    if folders <= set(read_roots(path)):
        return
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    with writing(path):
        table = open_roots(path, create=True)
        rows = pa.Table.from_pylist([{"path": each} for each in folders], schema=table.schema)
        persist(partial(table.merge_insert("path").when_not_matched_insert_all().execute, rows))


class Roots:
    """The roots of some stored files, and whether each can be reached, looked up once.

    ``added`` are the folders that were added, ``files`` stored files, both as the store names them.
    """

    def __init__(self, added: Sequence[str], files: Iterable[str]) -> None:
        self._added = {str(key_path(name)[0]) for name in added}
        self._root: dict[str, str] = {}
        self._below: dict[str, list[str]] = {}
        self._reachable: dict[str, bool] = {}
        # The rows of a parquet file have one path.
        for path in dict.fromkeys(str(key_path(name)[0]) for name in files):
            self._below.setdefault(self.of(path), []).append(path)

    def of(self, path: str) -> str:
        """The root of a file.

        >>> Roots(["/photos", "/photos/trips"], []).of("/photos/trips/2020/a.png")
        '/photos/trips'
        >>> Roots(["/photos"], []).of("/elsewhere/a.png")
        '/elsewhere'
        """
        folder = os.path.dirname(path)
        if folder not in self._root:
            around = (folder, *map(str, Path(folder).parents))
            self._root[folder] = next((each for each in around if each in self._added), folder)
        return self._root[folder]

    def is_reachable(self, root: str) -> bool:
        """Whether anything is there now: a file of the store, or any image.

        An unmounted folder is missing or empty, or has a note that says so.
        """
        if root not in self._reachable:
            stored = self._below.get(root, ())
            self._reachable[root] = any(map(os.path.isfile, stored)) or any(self._images(root))
        return self._reachable[root]

    def _images(self, root: str) -> Iterator[Path]:
        if not os.path.isdir(root):
            return
        if root in self._added:
            yield from (path for path in find_images([root]) if path.is_file())
            return
        # A file was added by itself. What lies further below its folder says little of it.
        try:
            inside = sorted(Path(root).iterdir())
        except OSError:
            return
        for path in inside:
            if (path.suffix.lower() in SUFFIXES or is_parquet(path)) and path.is_file():
                yield path


@dataclass(frozen=True)
class Missing:
    """Files of a store that no longer exist where they were.

    ``gone`` are those whose root exists: they were deleted or renamed. ``unreachable`` are roots of
    which nothing exists now, with how many files of the store they held: perhaps they are
    unmounted.
    """

    gone: list[str] = field(default_factory=list)
    unreachable: dict[str, int] = field(default_factory=dict)


def find_missing(tables: Tables, below: Sequence[str | os.PathLike[str]] | None = None) -> Missing:
    """Look for every file of the store, or for those ``below`` some folders, files among them."""
    tables.refresh()
    names = tables.files.search().select(["path"]).to_arrow()["path"].to_pylist()
    roots = Roots(read_roots(tables.path), names)
    found = Missing()
    for name in sorted(names if below is None else _within(names, below)):
        if not is_missing(name):
            continue
        root = roots.of(str(key_path(name)[0]))
        if roots.is_reachable(root):
            found.gone.append(name)
        else:
            found.unreachable[root] = found.unreachable.get(root, 0) + 1
    return found


def _within(names: Iterable[str], below: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    places = [os.path.abspath(path) for path in below]
    starts = tuple(place.rstrip("/") + "/" for place in places)
    for name in names:
        path = str(key_path(name)[0])
        if path in places or path.startswith(starts):
            yield name
