"""The files of images, found by the images' ids without asking the table anew."""

from collections.abc import Iterable
from typing import Any, final

import numpy as np

from percert.search.tables.location import Tables
from percert.search.tables.scan import paths_by_id

#: Above so many files their names are left on the disk: a search there costs less than memory.
MOST_FILES = 2_000_000
#: Names that are made Python strings at once.
_AT_ONCE = 65_536


@final
class Paths:
    """The files that hold an image, by its id; an index in memory of the table of files.

    File names stay as Arrow has them; for each file the hash of its image's id is kept, sorted, 16
    bytes as two numbers. All of it is read anew when the table changes.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._version = -1
        self._hashes: Any = None
        self._rows: Any = None
        self._files: Any = None

    def of(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """The files that hold each image, in order; one that no file holds is not among them."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        version = int(self.tables.files.version)
        if version != self._version:
            self._read(version)
        if self._files is None:
            return paths_by_id(self.tables, wanted)
        # Of each wanted id the rows whose hash is its own, end to end.
        numbers = np.array([hash(id) for id in wanted], np.int64)
        start = self._hashes.searchsorted(numbers)
        count = self._hashes.searchsorted(numbers, "right") - start
        before = np.repeat(start - (count.cumsum() - count), count)
        rows = self._rows[before + np.arange(len(before))].tolist()
        asked = np.repeat(np.arange(len(wanted)), count).tolist()
        names, paths = self._files
        found: dict[str, list[str]] = {}
        for at, row in zip(asked, rows, strict=True):
            if names[row].as_py() == wanted[at]:
                found.setdefault(wanted[at], []).append(paths[row].as_py())
        return {id: sorted(of_one) for id, of_one in found.items()}

    def _read(self, version: int) -> None:
        self._version, self._files = version, None
        if int(self.tables.files.count_rows()) > MOST_FILES:
            return
        # A column in one piece: a row of many is looked for piece by piece.
        files = self.tables.files.search().select(["id", "path"]).to_arrow()
        ids, paths = (files[name].combine_chunks() for name in ("id", "path"))
        hashes = np.empty(len(ids), np.int64)
        for start in range(0, len(ids), _AT_ONCE):
            names = ids.slice(start, _AT_ONCE).to_pylist()
            hashes[start : start + len(names)] = [hash(name) for name in names]
        self._rows = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._rows]
        self._files = ids, paths
