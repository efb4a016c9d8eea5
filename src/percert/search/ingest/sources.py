"""What is to be added: files, folders of files, and rows of parquet files, under lasting names."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from percert.check import one_line
from percert.images import ImageError, LeftOut, search_images
from percert.images.load import open_file

#: A larger file is no photograph; it would be read into memory whole.
MAX_BYTES = 1 << 30
#: What :func:`path_key` escapes: a backslash, and a byte that is no UTF-8.
_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


@dataclass(frozen=True)
class Source:
    """One image to add, under the name ``key``: a file, or the ``encoded`` bytes of a row.

    ``size`` in bytes (-1 where it is not known) and ``mtime_ns`` tell without reading whether it
    is what it was.
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


def count_sources(
    inputs: Iterable[Path], left_out: list[LeftOut] | None = None
) -> tuple[list[Path], int]:
    """The files that ``inputs`` stand for, folders searched, and how many images they may hold.

    What the search leaves out is added to ``left_out``.
    """
    found = search_images(inputs)
    files = found.paths
    if left_out is not None:
        left_out += found.left_out
    return files, sum(_rows(path) if is_parquet(path) else 1 for path in files)


@dataclass(frozen=True)
class Unit:
    """Something that is read at once: a file, or the row group ``group`` of a parquet file.

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
    """What there is to read in ``files``, in order, or the error that says why there is nothing."""
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
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

    keys = iter(unit.names())
    try:
        with open_file(unit.path) as stream:
            parts = pq.ParquetFile(stream).iter_batches(
                batch_size=256, row_groups=[unit.group], columns=["image"]
            )
            for value in (image.as_py() for part in parts for image in part.column(0)):
                key = next(keys)
                # A row may name a file instead of holding one. It is not followed: whoever made
                # the parquet file would choose what is read here.
                encoded = value.get("bytes") if isinstance(value, dict) else value
                if isinstance(encoded, bytes):
                    yield Source(key, len(encoded), unit.mtime_ns, unit.path, encoded)
                else:
                    yield ImageError(key, "a row without the bytes of an image")
    except ImageError as error:
        yield error
    except (pa.ArrowException, OSError, StopIteration) as error:
        yield ImageError(unit.path, f"row group {unit.group}: damaged ({one_line(error)})")


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


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


def count_rows(path: Path) -> int:
    """The rows of a parquet file with images. Raises ``OSError`` or ``ValueError`` for another."""
    return sum(unit.rows for unit in _row_groups(path))


def _rows(path: Path) -> int:
    try:
        return count_rows(path)
    except (OSError, ValueError):
        return 1  # it is listed as bad


def _row_groups(path: Path) -> list[Unit]:
    """The row groups of a parquet file with a column ``image``, of bytes or structs with them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(path) as stream:
        found = os.fstat(stream.fileno())
        try:
            metadata = pq.read_metadata(stream)
            names = metadata.schema.to_arrow_schema().names
        except (pa.ArrowException, OSError) as error:
            raise ImageError(path, f"not a readable parquet file ({one_line(error)})") from error
    if "image" not in names:
        raise ImageError(path, f"expected a column image, found {', '.join(names)}")
    units, first = [], 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        units.append(Unit(path, found.st_size, found.st_mtime_ns, group, first, rows))
        first += rows
    return units
