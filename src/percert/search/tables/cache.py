"""The cache of a store between queries: its embeddings, and projections of them for the prefilter.

It is dropped when the table's version changes. The first query of a version reads the rows, and
keeps them if they fit in memory; the second adds their principal coordinates in 8 bits (most
commands run one query only). If only the first coordinates fit, these are kept, with whole rows in
8 bits if these fit too, and the few rows that a query needs are read by their place. Of a larger
store nothing is kept, and every query reads it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from percert.search.tables.location import Tables
from percert.search.tables.principal_axes import LEAST_SHARE, SAMPLE, Axes, fit_axes
from percert.search.tables.scan import Block, Ids, scan_blocks
from percert.search.tables.turned import Turning

#: Bytes that are kept in memory between queries.
MEMORY = 512 << 20
#: Values of a block that is read, 16 MiB: what is larger, malloc takes from the system, page by
#: page, every time.
BLOCK_VALUES = 4 << 20
#: Bytes of an image's name, and of the numbers of a row.
NAME_BYTES, NUMBER_BYTES = 80, 32
#: Bytes of what a whole row in 8 bits has beside its values.
WHOLE_BYTES = 12
#: Fewer rows than these are as soon read whole.
LEAST_ROWS = 4096
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The raw rows of a store, left on the disk and read by their places when they are needed.

    Each image has ``views`` rows, or with ``view`` that one alone; ``first`` is the place of the
    first image in the store.
    """

    tables: Tables
    images: int
    views: int
    view_alone: int | None = None
    first: int = 0
    _last: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    dtype = torch.float32

    def __len__(self) -> int:
        return self.images * (self.views if self.view_alone is None else 1)

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, k)``."""
        return len(self), self.tables.header.metric.width

    def view(self, *shape: int) -> "StoredRows":
        return self

    def __getitem__(self, index: Any) -> Any:
        """Rows by their places or a slice, float32; with ``[:, view]`` one view of each image."""
        if isinstance(index, tuple):
            return replace(self, view_alone=index[1])
        of_each = self.views if self.view_alone is None else 1
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            first = start // of_each
            rows = self._range(first, -(-stop // of_each) - first)
            if self.view_alone is not None:
                return rows[:, self.view_alone]
            return rows.flatten(0, 1)[start - first * of_each : stop - first * of_each]
        index = index.long()
        image, at = torch.unique(index // of_each, return_inverse=True)
        view = index % of_each if self.view_alone is None else self.view_alone
        # What a product has passed is looked at again, in float64.
        for places, rows in self._last:
            if bool(torch.isin(image, places).all()):
                return rows[torch.searchsorted(places, image)[at], view]
        rows = self._read(image)
        self._last[:] = [(image, rows)] if rows.numel() <= BLOCK_VALUES else []
        return rows[at, view]

    def _range(self, first: int, count: int) -> Tensor:
        """All views of ``count`` images from the place ``first`` on: ``(n, views, k)``."""
        query = self.tables.images.search().offset(self.first + first).limit(count)
        return self._numbers(query)

    def _read(self, image: Tensor) -> Tensor:
        """All views of the images at these places, rising: ``(n, views, k)``."""
        if not len(image):
            return torch.zeros(0, self.views, self.shape[1])
        return self._numbers(self.tables.images.take_offsets((self.first + image).tolist()))

    def _numbers(self, query: Any) -> Tensor:
        found = query.select(["h"]).to_arrow()["h"]
        parts = [from_dlpack(part.flatten()).float() for part in found.chunks]
        return torch.cat(parts).view(-1, self.views, self.shape[1])


@final
class EmbeddingBlocks:
    """All embeddings of a store, in blocks, in an order that is fixed until the store changes.

    Called, it yields blocks to be read whole, from memory if all of it takes at most ``memory``
    bytes. :meth:`searched` yields blocks in the form that queries look through. With a ``part``,
    only the images at these places are there.
    """

    def __init__(self, tables: Tables, memory: int = MEMORY, part: range | None = None) -> None:
        self.tables = tables
        self.memory = memory
        self.part = part
        self._version = -1
        self._passes = 0
        self._rows: Block | None = None
        self._searched: Block | None = None
        self._axes: Axes | None = None
        self._once: dict[Any, Any] = {}

    def __call__(self, rows: int | None = None) -> Iterator[Block]:
        """Blocks of at most ``rows`` embeddings (but at least one image).

        By default all in one block where they are in memory, else blocks of 16 MiB.
        """
        if rows is not None:
            yield from scan_blocks(self.tables, rows, self.part)
        elif self._now() and self._rows is not None:
            yield self._rows
        else:
            yield from self._read()

    def searched(self) -> Iterator[Block]:
        """The same for a query: principal coordinates are added, and rows may stay on the disk."""
        fresh = not self._now()
        if fresh or self._passes == 0:
            yield from self()
            self._passes = 1
            return
        if self._passes == 1:
            self._passes = 2
            self._searched = self._turned()
        if self._searched is not None:
            yield self._searched
        else:
            yield from self()

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """``make()``, cached under ``key`` until the images change."""
        if not self._now() or key not in self._once:
            self._once[key] = make()
        value: T = self._once[key]
        return value

    def _now(self) -> bool:
        """Whether the cache is of the present version of the images; a stale one is dropped."""
        now = int(self.tables.images.version)
        if now == self._version:
            return True
        self._version, self._passes = now, 0
        self._rows = self._searched = None
        self._once = {}
        return False

    def _images(self) -> int:
        return int(self.tables.images.count_rows()) if self.part is None else len(self.part)

    def _fits(self, row: int) -> bool:
        """Whether so many bytes a row fit in memory, with what is kept beside them."""
        header = self.tables.header
        image = (row + NUMBER_BYTES) * len(header.views) + NAME_BYTES
        return self._images() * image <= self.memory

    def _read(self) -> Iterator[Block]:
        width, version = self.tables.header.metric.width, self._version
        some = scan_blocks(self.tables, max(1, BLOCK_VALUES // width), self.part)
        if not self._fits(4 * width):
            yield from some
            return
        kept = _Kept(self.tables, self._images(), rows=True)
        for block in some:
            yield kept.add(block)
        if version == self._version:
            self._rows = kept.block()

    def _turned(self) -> Block | None:
        """The block that queries look through, with principal coordinates, where they help."""
        header = self.tables.header
        width = header.metric.width
        rows = self._images() * len(header.views)
        if rows < LEAST_ROWS:
            return None
        if self._axes is None:
            self._axes = self._fit()
        axes: Axes | None = self._axes if self._axes.share >= LEAST_SHARE else None
        held = 4 * width if self._rows is not None else 0
        while axes is not None and not self._fits(held + axes.row_bytes):
            axes = axes.shorter()
        taken = held + (0 if axes is None else axes.row_bytes)
        # Where the rows are far, or all have to be looked at.
        whole = (not held or axes is None) and self._fits(taken + width + WHOLE_BYTES)
        if axes is None and not whole:
            return None
        turning = Turning(axes, rows, width, header.metric.constant, whole=whole)
        if self._rows is None:
            kept = _Kept(self.tables, self._images(), rows=False)
            for block in scan_blocks(self.tables, max(1, BLOCK_VALUES // width), self.part):
                kept.add(block)
                turning.add(block.embeddings, block.norms)
            found = kept.block(0 if self.part is None else self.part.start)
        else:
            found = self._rows
            turning.add(found.embeddings, found.norms)
        turned = turning.done()
        return None if turned is None else replace(found, turned=turned, _once={})

    def _fit(self) -> Axes:
        """Principal axes, fitted on evenly spread rows."""
        header = self.tables.header
        rows, place, parts = self._images() * len(header.views), 0, []
        step = max(1, rows // SAMPLE)
        for block in self():
            some = slice((-place) % step, None, step)
            norms = block.norms[some]
            well = norms.isfinite() & (norms > 0)
            parts.append((block.embeddings[some] / norms[:, None].float())[well])
            place += len(block.embeddings)
        return fit_axes(torch.cat(parts))


class _Kept:
    """The rows of a store put into memory that is taken once, block by block."""

    def __init__(self, tables: Tables, images: int, *, rows: bool) -> None:
        header = tables.header
        self.tables, self.views, self.images = tables, len(header.views), images
        count = self.images * self.views
        self.h = torch.empty(count, header.metric.width) if rows else None
        columns = 4 if header.layout > 1 else 3
        self.numbers = [torch.empty(count, dtype=torch.float64) for _ in range(columns)]
        self.ids: list[Any] = []
        self.place = 0

    def add(self, block: Block) -> Block:
        """Keep ``block``; it is given back, as it lies there."""
        some = slice(self.place, self.place + len(block.norms))
        self.place = some.stop
        if isinstance(block.ids, Ids):
            self.ids.append(block.ids.column)
        columns = (block.norms, block.bounds, block.pixel_errors, block.likeness)
        for kept, values in zip(self.numbers, columns, strict=False):
            if values is not None:
                kept[some] = values
        if self.h is None:
            return block
        self.h[some] = block.embeddings
        return replace(block, embeddings=self.h[some], _once={})

    def block(self, first: int = 0) -> Block:
        """All of them; those that stay on the disk are the store's from ``first`` on."""
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

        ids = pa.concat_arrays(self.ids) if self.ids else pa.array([], pa.string())
        norms, bounds, errors, *likeness = self.numbers
        h: Any = self.h
        if h is None:
            h = StoredRows(self.tables, self.images, self.views, first=first)
        like = likeness[0] if likeness else None
        return Block(Ids(ids), h, norms, bounds, errors, self.views, like)
