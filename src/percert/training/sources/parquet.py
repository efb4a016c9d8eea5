"""Images in parquet files: each row group is a shard."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from percert.extras import install_extra
from percert.training.sources.source import Entry


class ParquetSource:
    """The images in column ``column`` of parquet files: bytes, or structs with ``bytes``.

    The convention of Hugging Face ``datasets``. A row group is read when the first of its images
    is, and the last ``kept`` stay in memory. Needs pyarrow. Raises ``ValueError`` for a file that
    is none, or lacks the column.
    """

    def __init__(self, files: Sequence[Path], *, column: str = "image", kept: int = 4) -> None:
        self.column = column
        self.kept = kept
        self._rows: dict[str, tuple[str, int, int]] = {}
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()
        for path in files:
            opened = _open(path)
            if column not in opened.schema_arrow.names:
                raise ValueError(
                    f"{path}: expected a column {column}, found {opened.schema_arrow.names}"
                )
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                self._rows[f"{path}#{group}"] = (str(path), group, rows)
        if not self._rows:
            raise ValueError(f"{', '.join(map(str, files)) or 'parquet'}: no rows found")

    def shards(self) -> Sequence[str]:
        return list(self._rows)

    def entries(self, shard: str, /) -> Sequence[Entry]:
        path, group, rows = self._rows[shard]
        return [Entry(path, group, row) for row in range(rows)]

    def read(self, entry: Entry, /) -> bytes:
        with self._lock:
            key = (entry.path, entry.first)
            values = self._groups.get(key)
            if values is None:
                table = _open(Path(entry.path)).read_row_group(entry.first, columns=[self.column])
                values = self._groups[key] = table.column(self.column)
            self._groups.move_to_end(key)
            while len(self._groups) > self.kept:
                self._groups.popitem(last=False)
        found = values[entry.second].as_py()
        encoded = found.get("bytes") if isinstance(found, dict) else found
        if not isinstance(encoded, bytes):
            raise ValueError(f"{entry}: expected an image's bytes, found {type(found).__name__}")
        return encoded


def _open(path: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid  # type: ignore[import-untyped]  # it ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]  # as above
    except ModuleNotFoundError:
        raise ValueError(f"{path}: reading it needs pyarrow: {install_extra('train')}") from None
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file that can be read ({error})") from None
