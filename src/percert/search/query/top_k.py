"""The nearest images of a collection to several queries, in one pass over its blocks."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.metrics.certified.embedding import SHORTEST
from percert.search.query.distances import Queries, image_ids, row_norms
from percert.search.query.prefilter import VALUES, Pairs, Prefilter, join_pairs
from percert.search.query.within import in_memory, pair_distances
from percert.search.tables.scan import Block
from percert.tensors import Embeddings, Vector

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]
#: Rows are ranked in float64, and most of them dropped, once this many times too many are kept.
SPARE = 3
_TENSORS = ("query", "place", "cosine", "h")


@dataclass(frozen=True, eq=False)
class TopRows:
    """The nearest rows of q queries, nearest first, ties by their place in the collection.

    No row that was left out is nearer than the last one kept. Of query i the first ``count[i]`` of
    m columns are filled; behind them ``place`` ``(q, m)`` is -1 and ``distance`` infinite. ``h``
    ``(q, m, k)`` are raw embeddings as stored. An image has several rows where it has views.
    ``complete`` ``(q,)``: all rows of the collection are here. ``flat`` ``(q,)``: rows without a
    direction (at distance 1/2) may have been left out. ``directed``: the collection has rows, all
    with a direction.
    """

    ids: Names
    place: Places
    distance: Numbers
    h: Embeddings
    count: Places
    complete: Flags
    flat: Flags
    directed: bool
    views: int

    def __len__(self) -> int:
        return len(self.count)

    @cached_property
    def image(self) -> Places:
        """The place of each row's image, ``(q, m)``; -1 behind the last."""
        return self.place // self.views

    @cached_property
    def rank(self) -> Places:
        """The rank of each row's image: how many images are nearer, ``(q, m)``."""
        if self.views == 1:
            return np.tile(np.arange(self.place.shape[1]), (len(self), 1))
        order = np.argsort(self.image, axis=1, kind="stable")
        ordered = np.take_along_axis(self.image, order, 1)
        new = np.diff(ordered, axis=1, prepend=-2) != 0
        first = np.zeros_like(new)
        np.put_along_axis(first, order, new & (ordered >= 0), 1)
        nearer = np.cumsum(first, axis=1) - first
        # In this order the first row of each image comes before its others.
        start = np.maximum.accumulate(np.where(new, np.arange(new.shape[1]), 0), axis=1)
        rank = np.empty_like(order)
        leads = np.take_along_axis(order, start, 1)
        np.put_along_axis(rank, order, np.take_along_axis(nearer, leads, 1), 1)
        return rank

    @cached_property
    def images(self) -> Places:
        """How many images each query has, ``(q,)``."""
        images: Places = np.where(self.place >= 0, self.rank + 1, 0).max(axis=1, initial=0)
        return images

    @cached_property
    def leads(self) -> Places:
        """The column of each image's nearest row ``(q, i)``, nearest first; 0 behind the last."""
        leads = np.zeros((len(self), int(self.images.max(initial=0))), np.int64)
        # The first row of an image is written last.
        query, row = (self.place[:, ::-1] >= 0).nonzero()
        row = self.place.shape[1] - 1 - row
        leads[query, self.rank[query, row]] = row
        return leads


@dataclass
class PassCounts:
    """Counts of a pass: rows, views an image, and rows that may have no direction (``flat``)."""

    constant: float
    rows: int = 0
    flat: int = 0
    views: int = 1

    def count(self, block: Block) -> None:
        if self.rows and block.views != self.views:
            raise ValueError(
                f"collection: expected {self.views} views of every image, found {block.views}"
            )
        self.views = block.views
        self.rows += len(block.embeddings)
        if self.constant < SHORTEST:
            # Twice: the stored norm of a row at the edge may differ in the last digit.
            self.flat += block.once("flat", lambda: int((block.norms < 2 * SHORTEST).sum()))


def nearest_rows(
    blocks: Iterable[Block],
    queries: Queries,
    depth: int,
    *,
    device: torch.device | str = "cpu",
) -> TopRows:
    """The first pass: the rows of the ``depth`` nearest images of each query.

    These are all rows up to the first row of its ``depth``-th nearest image. Exact: sorted by
    distance in float64, then by place. Memory does not grow with the collection.
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1 image, found {depth}")
    tally, kept = PassCounts(queries.constant), _Kept(queries, depth)
    anything = torch.full((len(queries),), -torch.inf, dtype=torch.float64)
    prefilter = Prefilter(queries, anything, device=device)
    for block in blocks:
        tally.count(block)
        # The number of views is known from the first block on.
        prefilter.best = depth * block.views
        for pairs in prefilter.passing(block):
            kept.wait(pairs, block, prefilter)
        kept.add(block, prefilter)
        kept.start += len(block.embeddings)
    return kept.ranked(tally, prefilter)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows that may be among the nearest, one entry a (query, row) pair."""

    query: Tensor
    place: Tensor
    cosine: Tensor
    ids: Names
    h: Embeddings

    def __len__(self) -> int:
        return len(self.query)

    def take(self, index: Tensor) -> "_Rows":
        ids = self.ids[index.numpy()]
        return _Rows(self.query[index], self.place[index], self.cosine[index], ids, self.h[index])


class _Kept:
    """The rows that may be among the nearest so far, and ``waiting`` pairs of the current block."""

    def __init__(self, queries: Queries, depth: int) -> None:
        self.queries, self.depth = queries, depth
        self.views, self.start = 1, 0
        self.rows: list[_Rows] = []
        self.waiting: list[Pairs] = []

    def wait(self, pairs: Pairs, block: Block, prefilter: Prefilter) -> None:
        """Queue pairs of ``block``; their rows are copied at its end, or earlier if many wait."""
        self.waiting.append(pairs)
        most = VALUES // max(1, self.queries.h.shape[1])
        if sum(map(len, self.waiting)) > most:
            self.waiting = [self._still_passing(prefilter)]
            if len(self.waiting[0]) > most / 2:
                self.add(block, prefilter)

    def add(self, block: Block, prefilter: Prefilter) -> None:
        """Copy the rows of the waiting pairs that still pass."""
        if not self.waiting:
            return
        pairs, self.views = self._still_passing(prefilter), block.views
        self.waiting = []
        for some in in_memory([pairs], block):
            ids = _names(image_ids(block, some.row))
            place, h = some.row + self.start, block.embeddings[some.row]
            self.rows.append(_Rows(some.query, place, some.cosine, ids, h))
            most = 1024 + SPARE * len(self.queries) * self.depth * self.views
            if sum(map(len, self.rows)) > most:
                rows = self._together(prefilter)
                if len(rows) >= most / 2:  # float64 says what is not needed
                    needed, distance, last = self._needed(rows)
                    prefilter.bound(rows.query[last], distance[last])
                    rows = rows.take(needed)
                self.rows = [rows]

    def _still_passing(self, prefilter: Prefilter) -> Pairs:
        """The waiting pairs that still pass, since the least product has risen meanwhile."""
        pairs = join_pairs(self.waiting)
        return pairs[prefilter.passes(pairs.query, pairs.cosine)]

    def _together(self, prefilter: Prefilter) -> _Rows:
        """All kept rows that still pass, since the least product has risen meanwhile."""
        passed = [prefilter.passes(rows.query, rows.cosine) for rows in self.rows]
        rows = [
            some if bool(mask.all()) else some.take(mask.nonzero()[:, 0])
            for some, mask in zip(self.rows, passed, strict=True)
        ]
        if len(rows) == 1:
            return rows[0]
        if not rows:
            none, h = torch.zeros(0, dtype=torch.long), torch.zeros(0, self.queries.h.shape[1])
            return _Rows(none, none, h[:, 0], _names([]), h)
        columns = (torch.cat([getattr(one, name) for one in rows]) for name in _TENSORS)
        query, place, cosine, h = columns
        return _Rows(query, place, cosine, np.concatenate([one.ids for one in rows]), h)

    def _needed(self, rows: _Rows) -> tuple[Tensor, Vector, Tensor]:
        """Which rows belong to the nearest images, sorted by query, distance and place.

        And the distances of all rows, and the first rows of the last of these images.
        """
        distance = pair_distances(self.queries, rows.query, rows.h)
        order = np.lexsort((rows.place.numpy(), distance.numpy(), rows.query.numpy()))
        query, image = rows.query.numpy()[order], rows.place.numpy()[order] // self.views
        # The first row of each image of each query, in this order.
        first = np.zeros(len(order), bool)
        first[np.unique(query * (int(image.max(initial=0)) + 1) + image, return_index=True)[1]] = (
            True
        )
        before = np.concatenate([[0], np.cumsum(first)])
        start = np.searchsorted(query, np.arange(len(self.queries)))
        # How many images of its query come before each row.
        nearer = before[:-1] - before[start[query]]
        last = torch.from_numpy(order[first & (nearer == self.depth - 1)])
        return torch.from_numpy(order[nearer < self.depth]), distance, last

    def ranked(self, tally: PassCounts, prefilter: Prefilter) -> TopRows:
        """The nearest rows, when the whole collection has been read."""
        rows = self._together(prefilter)
        needed, distance, _ = self._needed(rows)
        query = rows.query.numpy()[needed.numpy()]
        count = np.bincount(query, minlength=len(self.queries))
        row = np.arange(count.max())
        filled = row < count[:, None]
        flat = np.zeros_like(count)
        if tally.flat:
            short = row_norms(rows.h[needed].double(), tally.constant) < SHORTEST
            flat = np.bincount(query[short.numpy()], minlength=len(count))
        start = (count.cumsum() - count)[:, None]
        index = needed.numpy()[np.where(filled, start + row, 0)]
        return TopRows(
            ids=rows.ids[index],
            place=np.where(filled, rows.place.numpy()[index], -1),
            distance=np.where(filled, distance.numpy()[index], np.inf),
            h=rows.h[torch.from_numpy(index)],
            count=count,
            complete=count == tally.rows,
            flat=flat < tally.flat,
            directed=tally.rows > 0 and not tally.flat,
            views=tally.views,
        )


def _names(names: list[str]) -> Names:
    """Names as an array of Python strings, never of fixed-width ones."""
    array = np.empty(len(names), object)
    array[:] = names
    return array
