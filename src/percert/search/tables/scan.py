"""Reading a store: all embeddings in blocks, and chosen columns as a table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from percert.search.tables.location import Tables
from percert.search.tables.schema import StoreHeader, is_one_of
from percert.search.tables.turned import Turned

_NUMBERS = ("h", "norm", "bound", "pixel_error")
#: In stores of the present layout.
_LIKENESS = "likeness"
_OWN = ("id", "bytes", "height", "width", *_NUMBERS, _LIKENESS, "time")
_OF_FILES = ("path", "paths")
_OF_HEADER = ("metric", "weights")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Block:
    """Some images of a store, in its order: ``m`` of them with ``views`` embeddings each.

    ``embeddings`` ``(m * views, k)`` float32 holds the raw h as it is stored, all views of an image
    side by side: row r is view ``r % views`` of image ``ids[r // views]``. ``norms``, ``bounds``,
    ``pixel_errors`` and ``likeness`` ``(m * views,)`` float64: |h|, the proven bound of h at the
    view's size, the rounding of the pixels and of h in pixel units (``pixel_error`` of
    :func:`percert.certify.features.pixel_features`), and the likeness to the background, 0 without
    one. All lie on the CPU, and are not to be changed. ``turned`` are the rows in 8 bits, along
    axes and whole, where a store keeps them; its embeddings may then stay on the disk, and be read
    by their places (:class:`percert.search.tables.cache.StoredRows`).
    """

    ids: Sequence[str]
    embeddings: Tensor
    norms: Tensor
    bounds: Tensor
    pixel_errors: Tensor
    views: int
    likeness: Tensor | None = None
    turned: Turned | None = None
    _once: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` finds of the rows, kept under ``key``."""
        if key not in self._once:
            self._once[key] = make()
        found: T = self._once[key]
        return found

    def of_view(self, place: int) -> "Block":
        """The same images in one view alone; nothing is copied."""
        if self.views == 1:
            return self
        return self.once(("view", place), lambda: self._of_view(place))

    def _of_view(self, place: int) -> "Block":
        def chosen(values: Any) -> Any:
            return values.view(len(self.ids), self.views, *values.shape[1:])[:, place]

        return Block(
            self.ids,
            chosen(self.embeddings),
            chosen(self.norms),
            chosen(self.bounds),
            chosen(self.pixel_errors),
            1,
            None if self.likeness is None else chosen(self.likeness),
            None if self.turned is None else self.turned.of_view(place, self.views),
        )

    @property
    def view(self) -> Tensor:
        """``(m * views,)`` int64: which of the store's views each row is."""
        return torch.arange(self.views).repeat(len(self.ids))


@final
class Ids(Sequence[str]):
    """Names of images, kept as Arrow has them and made Python strings where they are asked for."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.column[index].to_pylist()
        return self.column[index].as_py()


def scan_blocks(tables: Tables, rows: int, part: range | None = None) -> Iterator[Block]:
    """All images, in blocks of at most ``rows`` embeddings, but at least one image.

    Of a ``part`` only those at these places. The state of now, whatever is written meanwhile.
    Raises ``ValueError`` for ``rows`` below 1.
    """
    if rows < 1:
        raise ValueError(f"rows: expected at least 1, found {rows}")
    at_once = max(1, rows // len(tables.header.views))
    own = [_LIKENESS] if tables.header.layout > 1 else []
    columns = ["id", *_NUMBERS, *own]
    query = tables.images.search()
    if part is not None:
        if not part:  # to LanceDB a limit of 0 is none
            return iter(())
        query = query.offset(part.start).limit(len(part))
    reader = query.select(columns).to_batches(batch_size=at_once)
    return (_block(parts, tables.header) for parts in _regrouped(reader, at_once))


def _regrouped(reader: Any, at_once: int) -> Iterator[list[Any]]:
    """Record batches of whatever length as lists of them of ``at_once`` rows together.

    LanceDB ends a batch where one of its files ends, and a store that grew in small steps has many.
    """
    waiting: list[Any] = []
    count = 0
    for batch in reader:
        while len(batch):
            part = batch.slice(0, at_once - count)
            batch = batch.slice(len(part))
            waiting.append(part)
            count += len(part)
            if count == at_once:
                yield waiting
                waiting, count = [], 0
    if waiting:
        yield waiting


def _block(parts: list[Any], header: StoreHeader) -> Block:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    h, norms, bounds, errors = (_numbers(parts, name) for name in _NUMBERS)
    return Block(
        ids=Ids(pa.concat_arrays([part.column("id") for part in parts])),
        # Single precision holds half exactly.
        embeddings=h.float().view(-1, header.metric.width),
        norms=norms,
        bounds=bounds,
        pixel_errors=errors,
        views=len(header.views),
        likeness=_numbers(parts, _LIKENESS) if header.layout > 1 else None,
    )


def _numbers(parts: list[Any], name: str) -> Tensor:
    """A column of lists end to end; not copied where there is a single part."""
    flat = [from_dlpack(part.column(name).flatten()) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def scan_rows(tables: Tables, columns: Sequence[str], ids: Sequence[str] | None = None) -> Any:
    """A ``pyarrow.Table`` of ``columns`` of all images, or of those of ``ids`` that are there.

    The columns: ``id``, ``bytes``, ``height``, ``width``, ``h``, ``norm``, ``bound``,
    ``pixel_error``, ``likeness`` (not in stores of the first layout), ``time``; ``path``, the
    first in order of the files that hold the image (null for an image without one), and ``paths``,
    the list of all; ``metric`` and ``weights``. Raises ``ValueError`` for another column. With
    ``ids``, the rows come in their order.
    """
    import pyarrow as pa

    known = (*_OWN, *_OF_FILES, *_OF_HEADER)
    for column in columns:
        if column not in known:
            raise ValueError(f"column: expected one of {', '.join(known)}, found {column!r}")
    own = ["id", *(column for column in _OWN if column in columns and column != "id")]
    found = _matching(tables.images, own, ids)
    if ids is not None:
        place = {id: row for row, id in enumerate(found["id"].to_pylist())}
        found = found.take(pa.array([place[id] for id in ids if id in place], pa.int64()))
    if any(column in columns for column in _OF_FILES):
        paths = paths_by_id(tables, ids)
        of_each = [paths.get(id, []) for id in found["id"].to_pylist()]
        first = [of_one[0] if of_one else None for of_one in of_each]
        found = found.append_column("path", pa.array(first, pa.string()))
        found = found.append_column("paths", pa.array(of_each, pa.list_(pa.string())))
    metric = tables.header.metric
    for column, value in (("metric", metric.name), ("weights", metric.weights)):
        found = found.append_column(column, pa.array([value] * len(found), pa.string()))
    return found.select(list(columns)).replace_schema_metadata(None)


def paths_by_id(tables: Tables, ids: Sequence[str] | None = None) -> dict[str, list[str]]:
    """The files that hold each image, in order; an image that no file holds is not among them."""
    table = _matching(tables.files, ["id", "path"], ids)
    paths: dict[str, list[str]] = {}
    for id, path in sorted(
        zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True), key=lambda row: row[1]
    ):
        paths.setdefault(id, []).append(path)
    return paths


def shared_files(tables: Tables) -> dict[str, tuple[str, ...]]:
    """The images that several files hold, by id, with all of their files in order."""
    table = tables.files.search().select(["id", "path"]).to_arrow()
    counted = table.group_by("id").aggregate([("path", "count")])
    counts = zip(counted["id"].to_pylist(), counted["path_count"].to_pylist(), strict=True)
    found: dict[str, list[str]] = {id: [] for id, count in counts if count > 1}
    for id, path in zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True):
        if id in found:
            found[id].append(path)
    return {id: tuple(sorted(paths)) for id, paths in sorted(found.items())}


def _matching(table: Any, columns: list[str], ids: Sequence[str] | None) -> Any:
    import pyarrow as pa

    if ids is None:
        return table.search().select(columns).to_arrow()
    parts = [
        table.search().where(condition).select(columns).to_arrow()
        for condition in is_one_of("id", dict.fromkeys(ids))
    ]
    return (
        pa.concat_tables(parts) if parts else table.search().select(columns).limit(1).to_arrow()[:0]
    )
