"""Inputs of an ingest: files and parquet rows, a snapshot of what is stored, and outcomes."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from percert.check import one_line
from percert.data.labelled_images import ParquetImages, is_parquet
from percert.images import ImageError, LeftOut, search_images
from percert.images.load import open_file
from percert.search.ingest.views import Prepared
from percert.search.tables.files import (
    Roots,
    is_missing,
    key_path,
    path_key,
    read_roots,
    row_key,
)
from percert.search.tables.location import Tables
from percert.search.tables.schema import FileRow, ImageRow

#: A larger file is no photograph; it would be read into memory whole.
MAX_BYTES = 1 << 30
DecodeIn: TypeAlias = Literal["threads", "processes"]


@dataclass(frozen=True)
class AddOutcome:
    """The outcome of one image: the file or row ``path``, whose bytes have the SHA-256 ``id``.

    ``what`` is ``"added"``: embedded and stored; ``"duplicate"``: the same bytes are stored
    already, and ``path`` is stored beside their other paths; ``"moved"``: their file ``was`` is
    gone, and ``path`` has taken its place; ``"unchanged"``: stored before under this path;
    ``"bad"``: not stored, for ``reason``. What is not bad is on disk when this is handed out.
    """

    path: str
    what: Literal["added", "moved", "duplicate", "unchanged", "bad"]
    id: str | None = None
    reason: str | None = None
    was: str | None = None


@dataclass(frozen=True)
class AddSettings:
    """The settings of an ingest; what is stored is the same whatever they are.

    Images are decoded by ``decoders`` workers (by default one a core) in ``decode_in`` (by default
    threads up to 4, processes beyond), embedded in batches of ``batch``, and committed after
    ``commit_images`` of them or ``commit_seconds``. An image that takes more than ``max_memory``
    bytes to decode is bad (:func:`percert.images.load_image` says what is usual).
    """

    decoders: int | None = None
    decode_in: DecodeIn | None = None
    batch: int = 64
    commit_images: int = 1024
    commit_seconds: float = 10.0
    max_memory: int | None = None


@dataclass
class StageSeconds:
    """Seconds spent in each stage. Reading, decoding and resizing are sums over all workers.

    ``waiting`` is how long the network had nothing to do because decoding was behind.
    """

    reading: float = 0.0
    decoding: float = 0.0
    resizing: float = 0.0
    network: float = 0.0
    committing: float = 0.0
    waiting: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class AddStep:
    """An outcome, and the rows to commit before it is reported.

    ``prepared`` is an image that still has to be embedded, ``image`` one that already is; ``file``
    is the row of its file, ``replaced`` the id of the image that this file held before, and
    ``left`` are files that held the same image and no longer exist.
    """

    outcome: AddOutcome
    prepared: Prepared | None = None
    image: ImageRow | None = None
    file: FileRow | None = None
    replaced: str | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One image to add, under the name ``key``: a file, or the ``encoded`` bytes of a parquet row.

    ``size`` in bytes (-1 where unknown) and ``mtime_ns`` tell without reading whether it has
    changed.
    """

    key: str
    size: int
    mtime_ns: int
    path: Path
    encoded: bytes | None = None

    def read(self) -> bytes:
        """The encoded image. Raises :class:`percert.images.ImageError` where it cannot be read."""
        if self.encoded is not None:
            return self.encoded
        with open_file(self.path) as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ImageError(self.path, f"larger than {MAX_BYTES} bytes")
        return data


#: Whether what a store holds under a key is of this time of change, and of this size if one is
#: given.
IsKnown = Callable[[str, "int | None", int], bool]


def count_images(
    inputs: Iterable[str | os.PathLike[str]], left_out: list[LeftOut] | None = None
) -> int:
    """How many images ``inputs`` may hold: files, those in folders, and rows of parquet files.

    What the search of folders leaves out is added to ``left_out``.
    """
    found = search_images(inputs)
    if left_out is not None:
        left_out += found.left_out
    return sum(_row_count(path) if is_parquet(path) else 1 for path in found.paths)


@dataclass(frozen=True)
class Unit:
    """What is read at once: a file, or the row group ``group`` of a parquet file.

    A row group begins at row ``first`` of the file and has ``rows`` rows.
    """

    path: Path
    size: int
    mtime_ns: int
    group: int | None = None
    first: int = 0
    rows: int = 1

    def names(self) -> list[str]:
        """The names of its images in a store."""
        if self.group is None:
            return [path_key(self.path)]
        return [row_key(self.path, row) for row in range(self.first, self.first + self.rows)]


def iter_units(files: Iterable[Path]) -> Iterator[Unit | ImageError]:
    """The units to read in ``files``, in order; for a file that cannot be read, its error."""
    for path in files:
        try:
            if is_parquet(path):
                yield from _row_groups(path)
            else:
                found = os.stat(path)
                yield Unit(path, found.st_size, found.st_mtime_ns)
        except ImageError as error:
            yield error
        except FileNotFoundError:
            yield ImageError(path, "no such file")
        except (OSError, ValueError) as error:
            yield ImageError(path, f"cannot be read ({one_line(error)})")


def iter_sources(files: Iterable[Path], known: IsKnown) -> Iterator[Source | ImageError]:
    """Every image of ``files``, in order; what cannot be read comes as the error that says why.

    Row groups of a parquet file of which all is ``known`` give sources without their bytes.
    """
    for unit in iter_units(files):
        if isinstance(unit, ImageError):
            yield unit
        elif unit.group is not None and is_known(unit, known):
            yield from (Source(key, -1, unit.mtime_ns, unit.path) for key in unit.names())
        else:
            yield from unit_sources(unit)


def is_known(unit: Unit, known: IsKnown) -> bool:
    """Whether all of ``unit`` is in the store, unchanged."""
    size = unit.size if unit.group is None else None
    return all(known(key, size, unit.mtime_ns) for key in unit.names())


def unit_sources(unit: Unit) -> Iterator[Source | ImageError]:
    """The images of ``unit``: those of a parquet file with their bytes."""
    if unit.group is None:
        yield Source(path_key(unit.path), unit.size, unit.mtime_ns, unit.path)
        return
    keys = iter(unit.names())
    try:
        for encoded in ParquetImages(unit.path, extra="search").iter_group(unit.group):
            key = next(keys)
            if encoded is None:
                yield ImageError(key, "a row without the bytes of an image")
            else:
                yield Source(key, len(encoded), unit.mtime_ns, unit.path, encoded)
    except ImageError as error:
        yield error
    except StopIteration:
        yield ImageError(unit.path, f"row group {unit.group}: has changed meanwhile")


def _row_groups(path: Path) -> Iterator[Unit]:
    images = ParquetImages(path, extra="search")
    for group, rows in enumerate(images.groups):
        yield Unit(path, images.size, images.mtime_ns, group, rows.start, len(rows))


def _row_count(path: Path) -> int:
    try:
        return len(ParquetImages(path, extra="search"))
    except (OSError, ValueError):
        return 1  # it is listed as bad


class Snapshot:
    """The files and images that a store has when an ingest begins, some 500 bytes each.

    It only saves work: what other writers add meanwhile may be done twice, but no row is stored
    twice.
    """

    def __init__(self, tables: Tables) -> None:
        tables.refresh()
        columns = ["path", "id", "bytes", "mtime_ns"]
        self.files = tables.files.search().select(columns).to_arrow().combine_chunks()
        self.row = {path: row for row, path in enumerate(self.files["path"].to_pylist())}
        images = tables.images.search().select(["id", "bytes"]).to_arrow()
        self.ids = set(images["id"].to_pylist())
        self.path = tables.path
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
        """The step for a file whose bytes were read and prove to be stored already."""
        before = self.id_at(file.path)
        if before == file.id:
            return AddStep(AddOutcome(file.path, "unchanged", file.id), file=file)
        was, left = self._moved_from(file)
        what: Literal["moved", "duplicate"] = "duplicate" if was is None else "moved"
        outcome = AddOutcome(file.path, what, file.id, was=was)
        return AddStep(outcome, file=file, replaced=before, left=left)

    def _moved_from(self, file: FileRow) -> tuple[str | None, tuple[str, ...]]:
        """The file that ``file`` was before it moved, and all gone files that held its bytes.

        Each is reported once. Where the root of one cannot be reached, it may be unmounted, and
        ``file`` a copy; but a renamed file keeps its time of change, which a copy made since does
        not have.
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
        return Roots(read_roots(self.path), self.row)

    def unchanged_id(self, source: Source) -> str | None:
        """The id of ``source``'s image where it need not be read again."""
        # A row of a parquet file that has been passed over comes without its size.
        size = None if source.size < 0 else source.size
        if self.is_unchanged(source.key, size, source.mtime_ns):
            return self.id_at(source.key)
        return None
