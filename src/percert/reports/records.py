"""Records: rows of results in parquet files that are whole or not there at all."""

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from percert.extras import install_extra

#: The columns of a table by name, in order, each ``str``, ``bool``, ``int`` or ``float``. Every
#: value may be ``None``.
Columns: TypeAlias = Mapping[str, type]
#: One row: a value for every column.
Row: TypeAlias = Mapping[str, Any]

#: The suffix of shards while they are not merged, and of files while they are written.
SHARDS = "records.parts"


def write_records(path: str | Path, rows: Sequence[Row], columns: Columns) -> None:
    """Write ``rows`` to the parquet file ``path``, whole or not at all.

    Raises ``ValueError`` for a row that lacks a column, has another, or holds a value of another
    type than its column's. Needs pyarrow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_records(f"{folder}/r.parquet", [{"image": "a", "l2": 0.5}], {"image": str, "l2": float})
    ...     read_records(f"{folder}/r.parquet")
    [{'image': 'a', 'l2': 0.5}]
    """  # noqa: E501
    arrow = _arrow()
    path = Path(path)
    for row in rows:
        if row.keys() != columns.keys():
            odd = sorted(row.keys() ^ columns.keys())
            raise ValueError(f"{path}: a row does not have the columns expected: {odd[0]!r}")
    try:
        table = arrow.table(
            {name: [row[name] for row in rows] for name in columns}, schema=_schema(columns)
        )
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise ValueError(f"{path}: a value does not fit its column ({error})") from None
    _write_table(path, table)


def read_records(path: str | Path, columns: Columns | None = None) -> list[dict[str, Any]]:
    """The rows of a parquet file.

    Where ``columns`` are given, the file must have exactly these, in any order. Raises
    ``ValueError`` for a file that is missing, damaged, or has others. Needs pyarrow.
    """
    return _read_rows(Path(path), columns)


@dataclass(frozen=True)
class RecordStore:
    """Records of one run in ``folder``, added to while it goes on and still there if it is killed.

    Each :meth:`append` is a small file of its own, in ``records.parts``; :meth:`merge` puts them
    all into ``records.parquet``. ``key`` are the columns that tell rows apart: of two rows that
    agree in them the later one stays, so that nothing is there twice, whenever the run was killed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = RecordStore(Path(folder), {"image": str, "l2": float}, key=("image",))
    ...     store.append([{"image": "a", "l2": 1.0}])
    ...     store.append([{"image": "b", "l2": 2.0}])
    ...     [row["image"] for row in store.merge()]
    ['a', 'b']
    """

    folder: Path
    columns: Columns
    key: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where :meth:`merge` puts the records."""
        return self.folder / "records.parquet"

    def append(self, rows: Sequence[Row]) -> None:
        """Add ``rows``; they are on the disk when this returns."""
        if rows:
            shards = self.folder / SHARDS
            shards.mkdir(parents=True, exist_ok=True)
            number = 1 + max((int(p.name[:8]) for p in self._shards()), default=0)
            write_records(
                shards / f"{number:08d}-{secrets.token_hex(4)}.parquet", rows, self.columns
            )

    def rows(self) -> list[dict[str, Any]]:
        """Every row, in the order in which they were added.

        Raises ``ValueError`` where what is in the folder has other columns.
        """
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for path in [*([self.path] if self.path.exists() else []), *self._shards()]:
            for row in _read_rows(path, self.columns):
                found[tuple(row[name] for name in self.key)] = row
        return list(found.values())

    def merge(self, order: Callable[[Row], Any] | None = None) -> list[dict[str, Any]]:
        """Put everything into :attr:`path`, sorted by ``order`` where given, and give it back."""
        rows = self.rows() if order is None else sorted(self.rows(), key=order)
        shards = self._shards()
        if rows or not self.path.exists():
            write_records(self.path, rows, self.columns)
        for shard in shards:  # only now: to be killed in between does no harm
            shard.unlink(missing_ok=True)
        if (self.folder / SHARDS).is_dir() and not any((self.folder / SHARDS).iterdir()):
            (self.folder / SHARDS).rmdir()
        return rows

    def _shards(self) -> list[Path]:
        return sorted((self.folder / SHARDS).glob("*.parquet"))


def _read_rows(path: Path, columns: Columns | None) -> list[dict[str, Any]]:
    arrow = _arrow()
    from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no types

    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (arrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file that can be read ({error})") from None
    if columns is not None:
        expected = _schema(columns)
        found = {field.name: field.type for field in table.schema}
        wanted = {field.name: field.type for field in expected}
        if found != wanted:
            odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            raise ValueError(
                f"{path}: has other columns than this run, such as {odd[0]!r} "
                f"(expected {wanted.get(odd[0])}, found {found.get(odd[0])})"
            )
        table = table.select(list(columns))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _write_table(path: Path, table: Any) -> None:
    from pyarrow import parquet

    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as stream:
            parquet.write_table(table, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _schema(columns: Columns) -> Any:
    arrow = _arrow()
    kinds = {
        str: arrow.string(),
        bool: arrow.bool_(),
        int: arrow.int64(),
        float: arrow.float64(),
    }
    return arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])


def _arrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet  # type: ignore[import-untyped]  # it ships no types
    except ModuleNotFoundError:
        raise ValueError(f"records need pyarrow: {install_extra('report')}") from None
    module: ModuleType = pyarrow
    return module


def column(rows: Iterable[Row], name: str) -> list[Any]:
    """The values of one column that are there.

    >>> column([{"l2": 1.0}, {"l2": None}], "l2")
    [1.0]
    """
    return [row[name] for row in rows if row[name] is not None]
