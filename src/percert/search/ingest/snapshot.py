"""What a store knows when an addition begins, to tell what need not be done again."""

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from percert.search.ingest.outcomes import AddOutcome, AddStep
from percert.search.ingest.sources import Source, key_path
from percert.search.tables.missing import is_missing
from percert.search.tables.roots import Roots, read_roots
from percert.search.tables.schema import FileRow

if TYPE_CHECKING:
    from percert.search.store import Store


class Snapshot:
    """The files and images of a store: about 500 bytes of memory for each.

    Other writers may add meanwhile. That costs work done twice, never a row twice: what is known
    here only spares work.
    """

    def __init__(self, store: "Store") -> None:
        store.refresh()
        columns = ["path", "id", "bytes", "mtime_ns"]
        self.files = store.files.search().select(columns).to_arrow().combine_chunks()
        self.row = {path: row for row, path in enumerate(self.files["path"].to_pylist())}
        images = store.images.search().select(["id", "bytes"]).to_arrow()
        self.ids = set(images["id"].to_pylist())
        self.store = store
        self._by_id: dict[str, list[int]] | None = None
        self._missing: dict[str, dict[str, int]] = {}

    def id_at(self, key: str) -> str | None:
        """The image that the file ``key`` held."""
        row = self.row.get(key)
        return None if row is None else str(self.files["id"][row].as_py())

    def is_unchanged(self, key: str, size: int | None, mtime_ns: int) -> bool:
        """Whether the file ``key`` still is what was stored, by its size and time of change."""
        row = self.row.get(key)
        return (
            row is not None
            and self.files["mtime_ns"][row].as_py() == mtime_ns
            and (size is None or self.files["bytes"][row].as_py() == size)
            and self.files["id"][row].as_py() in self.ids
        )

    def known_step(self, file: FileRow) -> AddStep:
        """What is to be done for a file whose bytes have been read and are stored already."""
        before = self.id_at(file.path)
        if before == file.id:
            return AddStep(AddOutcome(file.path, "unchanged", file.id), file=file)
        was, left = self._moved_from(file)
        what: Literal["moved", "duplicate"] = "duplicate" if was is None else "moved"
        outcome = AddOutcome(file.path, what, file.id, was=was)
        return AddStep(outcome, file=file, replaced=before, left=left)

    def _moved_from(self, file: FileRow) -> tuple[str | None, tuple[str, ...]]:
        """The file that ``file`` was, each told of once, and all that held its bytes and are gone.

        Where the root of one cannot be reached, it may be unmounted, and ``file`` a copy; but a
        renamed file keeps its time of change, which a copy made since does not have.
        """
        if file.id not in self._missing:
            rows = ((str(self.files["path"][row]), row) for row in self._rows_of(file.id))
            self._missing[file.id] = {path: row for path, row in rows if is_missing(path)}
        missing = self._missing[file.id]
        gone = [
            path
            for path, row in missing.items()
            if self.files["mtime_ns"][row].as_py() == file.mtime_ns
            or self._roots.is_reachable(self._roots.of(str(key_path(path)[0])))
        ]
        if not gone:
            return None, ()
        name = key_path(file.path)[0].name
        was = next((path for path in gone if key_path(path)[0].name == name), gone[0])
        del missing[was]
        return was, tuple(gone)

    def _rows_of(self, id: str) -> list[int]:
        if self._by_id is None:
            self._by_id = {}
            for row, one in enumerate(self.files["id"].to_pylist()):
                self._by_id.setdefault(one, []).append(row)
        return self._by_id.get(id, [])

    @cached_property
    def _roots(self) -> Roots:
        return Roots(read_roots(self.store), self.row)

    def unchanged_id(self, source: Source) -> str | None:
        """The id of ``source``'s image where it need not be read again."""
        # A row of a parquet file that has been passed over comes without its size.
        size = None if source.size < 0 else source.size
        if self.is_unchanged(source.key, size, source.mtime_ns):
            return self.id_at(source.key)
        return None
