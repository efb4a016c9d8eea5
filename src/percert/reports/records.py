"""What a run leaves on disk: rows of results in parquet files, and ``run.json``.

``run.json`` says what was run, with what, and how long it took. Each file is whole or not there.
"""

import json
import platform
import secrets
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, TypeAlias, get_args, get_type_hints

import percert
from percert.check import Argument, ArgumentError
from percert.extras import install_extra
from percert.files import replacing, write_whole

#: The columns of a table by name, in order, each ``str``, ``bool``, ``int`` or ``float``. Every
#: value may be ``None``.
Columns: TypeAlias = Mapping[str, type]
#: One row: a value for every column.
Row: TypeAlias = Mapping[str, Any]


def columns_of(kind: type) -> dict[str, type]:
    """The columns of rows that are dataclasses: a field a column, ``None`` or not.

    >>> from dataclasses import make_dataclass
    >>> columns_of(make_dataclass("Found", [("image", str), ("radius", float | None)]))
    {'image': <class 'str'>, 'radius': <class 'float'>}
    """
    found = {}
    for name, hint in get_type_hints(kind).items():
        (found[name],) = {*(get_args(hint) or (hint,))} - {NoneType}
    return found


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
    from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no types

    with replacing(path) as waiting:
        parquet.write_table(table, waiting)


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
    from pyarrow import parquet

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


def _schema(columns: Columns) -> Any:
    arrow = _arrow()
    kinds = {str: arrow.string(), bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
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


#: Packages whose versions say how numbers came about, where they are installed.
PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "torchvision",
    "timm",
    "piq",
    "pyarrow",
    "ray",
    "pandas",
    "scipy",
    "statsmodels",
)


def write_run(
    folder: str | Path,
    *,
    command: list[str],
    seed: int | None,
    device: str,
    seconds: float,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Write ``run.json`` into ``folder``, whole or not at all.

    Beside what is given it holds the versions of percert, Python and the packages that matter, the
    commit where percert runs from a git checkout (``None`` elsewhere; ``-dirty`` where files that
    git knows were changed), and the time. ``settings`` are those on which the results depend.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_run(folder, command=["percert"], seed=0, device="cpu", seconds=1.5, images=3)
    ...     found = read_run(folder)
    >>> found["seconds"], found["images"], {"numpy", "percert"} <= set(found["versions"])
    (1.5, 3, True)
    """
    record = {
        "command": command,
        "settings": dict(settings or {}),
        "seed": seed,
        "device": device,
        "seconds": seconds,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": _versions(),
        "commit": _commit(),
        **more,
    }
    write_whole(Path(folder) / "run.json", f"{json.dumps(record, indent=2)}\n".encode())


def read_run(folder: str | Path) -> dict[str, Any] | None:
    """What :func:`write_run` wrote into ``folder``, or ``None`` where there is no ``run.json``.

    Raises ``ValueError`` for a file that is not JSON.
    """
    path = Path(folder) / "run.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    return found


def check_same_settings(
    folder: str | Path,
    before: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    holds: str = "a run",
    has: str = "this one has",
) -> None:
    """Raise ``ValueError`` unless what ``folder`` holds was made with these very ``settings``.

    ``before`` are the settings it was made with. What JSON cannot tell apart is the same; the
    message names the first setting that differs.

    >>> check_same_settings("runs/a", {"seed": 0}, {"seed": 1})
    Traceback (most recent call last):
    percert.check.ArgumentError: runs/a: holds a run with seed 0, this one has 1; give another out
    """
    before, settings = json.loads(json.dumps([dict(before), dict(settings)]))
    for key in {**before, **settings}:
        if before.get(key) != settings.get(key):
            raise ArgumentError(
                f"{folder}: holds {holds} with {key} {before.get(key)!r}, {has} "
                f"{settings.get(key)!r}; give another ",
                Argument("out"),
            )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "percert": percert.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the checkout that percert is imported from."""
    here = Path(percert.__file__).resolve().parent
    if not any((folder / ".git").exists() for folder in here.parents[:3]):
        return None  # installed, perhaps inside of somebody else's checkout
    try:
        said = [
            subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", str(here)),
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[0] + ("-dirty" if said[1] else "")
