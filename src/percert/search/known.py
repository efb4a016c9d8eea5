"""What a store knows when an addition begins, to tell what need not be done again."""

from typing import TYPE_CHECKING

from percert.search.sources import Source

if TYPE_CHECKING:
    from percert.search.store import Store


class Known:
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

    def unchanged_id(self, source: Source) -> str | None:
        """The id of ``source``'s image where it need not be read again."""
        # A row of a parquet file that has been passed over comes without its size.
        size = None if source.size < 0 else source.size
        if self.is_unchanged(source.key, size, source.mtime_ns):
            return self.id_at(source.key)
        return None
