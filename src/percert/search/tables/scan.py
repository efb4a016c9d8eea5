"""Reading a store from end to end, in blocks, without holding more of it than that."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from percert.search.tables.schema import StoreHeader, is_one_of

if TYPE_CHECKING:
    from percert.search.store import Block

_NUMBERS = ("h", "norm", "bound", "pixel_error")
_OWN = ("id", "bytes", "height", "width", *_NUMBERS, "time")
_OF_FILES = ("path", "paths")
_OF_HEADER = ("metric", "weights")


def scan_blocks(images: Any, header: StoreHeader, rows: int) -> "Iterator[Block]":
    """See :meth:`percert.search.store.Store.blocks`."""
    if rows < 1:
        raise ValueError(f"rows: expected at least 1, found {rows}")
    views = len(header.views)
    at_once = max(1, rows // views)
    # A reader keeps the state of the table of when it was made, whatever is written meanwhile.
    reader = images.search().select(["id", *_NUMBERS]).to_batches(batch_size=at_once)
    return (_block(parts, header) for parts in _regrouped(reader, at_once))


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


def _block(parts: list[Any], header: StoreHeader) -> "Block":
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    from percert.search.store import Block, Ids

    h, norms, bounds, errors = (_numbers(parts, name) for name in _NUMBERS)
    return Block(
        ids=Ids(pa.concat_arrays([part.column("id") for part in parts])),
        embeddings=h.view(-1, header.metric.width),
        norms=norms,
        bounds=bounds,
        pixel_errors=errors,
        views=len(header.views),
    )


def _numbers(parts: list[Any], name: str) -> Tensor:
    """A column of lists end to end; not copied where there is a single part."""
    flat = [from_dlpack(part.column(name).flatten()) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def scan_rows(
    images: Any, files: Any, header: StoreHeader, columns: Sequence[str], ids: Sequence[str] | None
) -> Any:
    """See :meth:`percert.search.store.Store.rows`."""
    import pyarrow as pa

    known = (*_OWN, *_OF_FILES, *_OF_HEADER)
    for column in columns:
        if column not in known:
            raise ValueError(f"column: expected one of {', '.join(known)}, found {column!r}")
    own = ["id", *(column for column in _OWN if column in columns and column != "id")]
    found = _matching(images, own, ids)
    if ids is not None:
        place = {id: row for row, id in enumerate(found["id"].to_pylist())}
        found = found.take(pa.array([place[id] for id in ids if id in place], pa.int64()))
    if any(column in columns for column in _OF_FILES):
        paths = _paths_by_id(files, ids)
        of_each = [paths.get(id, []) for id in found["id"].to_pylist()]
        first = [of_one[0] if of_one else None for of_one in of_each]
        found = found.append_column("path", pa.array(first, pa.string()))
        found = found.append_column("paths", pa.array(of_each, pa.list_(pa.string())))
    for column, value in (("metric", header.metric.name), ("weights", header.metric.weights)):
        found = found.append_column(column, pa.array([value] * len(found), pa.string()))
    return found.select(list(columns)).replace_schema_metadata(None)


def _paths_by_id(files: Any, ids: Sequence[str] | None) -> dict[str, list[str]]:
    table = _matching(files, ["id", "path"], ids)
    paths: dict[str, list[str]] = {}
    for id, path in sorted(
        zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True), key=lambda row: row[1]
    ):
        paths.setdefault(id, []).append(path)
    return paths


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
