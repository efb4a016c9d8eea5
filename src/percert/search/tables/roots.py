"""The folders that were added to a store: whether they can be reached says what a missing file is.

A file that is not where it was may be deleted, or lie on a disk that is not there now. It is taken
for deleted only while its root is there: the innermost folder that was added and holds it, or the
file's own folder where none was.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from percert.images import SUFFIXES, find_images
from percert.search.ingest.sources import is_parquet, key_path, path_key
from percert.search.tables.commit import persist
from percert.search.tables.location import open_roots, writing

if TYPE_CHECKING:
    from percert.search.store import Store


def read_roots(store: "Store") -> list[str]:
    """The folders that were added, in order; none in a store of before they were kept."""
    table = open_roots(store.path)
    return [] if table is None else sorted(table.search().to_arrow()["path"].to_pylist())


def remember_roots(store: "Store", inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Keep those of ``inputs`` that are folders, before anything of them is added."""
    folders = {path_key(path) for path in inputs if os.path.isdir(path)}
    if folders <= set(read_roots(store)):
        return
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    with writing(store.path):
        table = open_roots(store.path, create=True)
        rows = pa.Table.from_pylist([{"path": path} for path in folders], schema=table.schema)
        persist(partial(table.merge_insert("path").when_not_matched_insert_all().execute, rows))


class Roots:
    """The roots of some stored files, and whether each can be reached, looked up once.

    ``added`` are names of folders, ``files`` of stored files, as a store has them.
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
