"""Parquet files that list images by path rather than by bytes, perhaps with the user's own ids."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from percert.check import Argument, ArgumentError, one_line
from percert.data.labelled_images import ROWS, is_parquet
from percert.images import ImageError
from percert.images.load import open_file
from percert.search.tables.files import path_key, row_key

#: Columns of paths, the first that is there: the usual names, fiftyone's and Hugging Face's.
PATHS = ("image", "filepath", "path", "file_name")
_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class ListedImages:
    """The ``files`` to add, each one's own id by its key, and ``bad`` rows with the reason."""

    files: list[Path] = field(default_factory=list)
    own_ids: dict[str, str] = field(default_factory=dict)
    bad: list[tuple[str, str]] = field(default_factory=list)


def listed_images(
    inputs: Iterable[_Path], *, paths_below: _Path | None = None, ids: str | None = None
) -> ListedImages:
    """Replace each parquet file of paths among ``inputs`` by the files that it lists.

    A row is a file of the folder ``paths_below``, by its path from there or its absolute one, and
    never one outside of it: whoever made the parquet file does not choose what is read. Without
    that folder, parquet files are taken to hold bytes, and stay as they are. ``ids`` is the column
    with the user's own id of each row, text or integers. Raises ``ValueError`` where the folder or
    that column is missing.
    """
    below, found = paths_below, ListedImages()
    if below is not None and not os.path.isdir(below):
        raise ArgumentError(Argument("paths_below"), f": expected a folder, found {below}")
    for path in map(Path, inputs):
        if not is_parquet(path) or (below is None and ids is None):
            found.files.append(path)
            continue
        try:
            _read(path, below, ids, found)
        except ImageError as error:
            found.bad.append((path_key(path), error.reason))
    return found


def _read(path: Path, below: _Path | None, ids: str | None, found: ListedImages) -> None:
    rows = _Rows(path)
    if ids is not None and ids not in rows.names:
        names = ", ".join(rows.names)
        raise ArgumentError(Argument("ids"), f": expected a column of {path} ({names}), not {ids}")
    if below is None or rows.hold_bytes():
        found.files.append(path)
        keys: list[str | None] = [row_key(path, row) for row in range(rows.count)]
    else:
        keys = [_file_of(row, named, below, found) for row, named in _named(path, rows)]
    if ids is not None:
        for key, own in zip(keys, rows.values(ids), strict=True):
            if key is not None and own is not None:
                found.own_ids[key] = str(own)


def _named(path: Path, rows: "_Rows") -> Iterator[tuple[str, Any]]:
    """Each row's name, and the path that it holds."""
    column = next((name for name in PATHS if name in rows.names), None)
    if column is None:
        raise ImageError(path, f"expected a column of paths: {', '.join(PATHS)}")
    for row, value in enumerate(rows.values(column)):
        yield row_key(path, row), value.get("path") if isinstance(value, dict) else value


def _file_of(row: str, named: Any, below: _Path, found: ListedImages) -> str | None:
    if not isinstance(named, str) or not named:
        found.bad.append((row, "a row without the path of an image"))
        return None
    root = Path(os.path.realpath(below))
    file = Path(os.path.abspath(below), named)
    if not Path(os.path.realpath(file)).is_relative_to(root):
        found.bad.append((row, f"names {named}, which does not lie below {below}"))
        return None
    found.files.append(file)
    return path_key(file)


class _Rows:
    """The columns of a parquet file. Raises ``ImageError`` for a file that is none."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above

        self.path = path
        with open_file(path) as stream:
            try:
                metadata = pq.read_metadata(stream)
            except (pa.ArrowException, OSError) as error:
                why = f"not a parquet file that can be read ({one_line(error)})"
                raise ImageError(path, why) from None
        self.schema = metadata.schema.to_arrow_schema()
        self.names: list[str] = self.schema.names
        self.count = int(metadata.num_rows)

    def values(self, column: str) -> Iterator[Any]:
        """The values of a column, a few rows in memory at once; of structs without their bytes."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = f"{column}.path" if pa.types.is_struct(self.schema.field(column).type) else column
        with open_file(self.path) as stream:
            for part in pq.ParquetFile(stream).iter_batches(batch_size=ROWS, columns=[wanted]):
                yield from part.column(0).to_pylist()

    def hold_bytes(self) -> bool:
        """Whether any row holds an image rather than its path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        def binary(kind: Any) -> bool:
            return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

        columns = [field.name for field in self.schema if binary(field.type)]
        columns += [
            f"{field.name}.bytes"
            for field in self.schema
            if pa.types.is_struct(field.type)
            for inner in field.type
            if inner.name == "bytes" and binary(inner.type)
        ]
        with open_file(self.path) as stream:
            file = pq.ParquetFile(stream)
            for column in columns:
                for part in file.iter_batches(batch_size=ROWS, columns=[column]):
                    held = part.column(0)
                    held = held.field(0) if pa.types.is_struct(held.type) else held
                    if held.null_count < len(held):
                        return True
        return False
