"""The nearest images of a collection to several queries, in one pass over its blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.metrics.embedding import SHORTEST
from percert.search.exact import Block, Hits, Queries, hits, row_norms
from percert.tensors import Embeddings, Vector

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Names = npt.NDArray[np.object_]
#: Vectors of rows that were pushed out again are dropped when there are this many times more.
SPARE = 3


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The rows nearest to one query, nearest first, ties by their place in the collection.

    No row of the collection that is not among them is nearer than the last. ``image`` is the place
    of a row's image, ``place`` its own; an image has several rows where it has views. ``h``
    ``(r, k)`` are raw embeddings, float64. ``complete`` says that these are all rows there are,
    ``flat`` that there may be others without a direction (at distance 1/2).
    """

    ids: Names
    image: Places
    place: Places
    distance: Numbers
    h: Embeddings
    complete: bool
    flat: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Tally:
    """How many rows went by, with how many views, and how many may have no direction."""

    constant: float
    rows: int = 0
    flat: int = 0
    views: int = 1

    def count(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            if self.rows and block.views != self.views:
                raise ValueError(
                    f"collection: expected {self.views} views of every image, found {block.views}"
                )
            self.views = block.views
            self.rows += len(block.embeddings)
            if self.constant < SHORTEST:
                # Twice: the stored norm of a row at the edge may differ in the last digit.
                self.flat += int((block.norms < 2 * SHORTEST).sum())
            yield block


def nearest_rows(
    blocks: Iterable[Block],
    queries: Queries,
    depth: int,
    *,
    device: torch.device | str = "cpu",
) -> list[Neighbours]:
    """The rows that hold the ``depth`` nearest images, for each query.

    Of each query all rows up to and including the first row of its ``depth``-th nearest image.
    Exact: by rising distance in float64, then by place. Memory does not grow with the collection.
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1 image, found {depth}")
    count = len(queries)
    limit = torch.full((count,), torch.inf, dtype=torch.float64)
    kept = _Kept(queries.h.shape[1])
    tally = Tally(queries.constant)
    rows = _with_best(tally.count(blocks), queries, limit, depth, device)
    for found in rows:
        kept.add(found, tally.views)
        kept.cut(count, depth, limit)
    return [kept.of(query, tally) for query in range(count)]


class _Kept:
    """The rows kept of all queries together, sorted by query, distance and place."""

    def __init__(self, width: int) -> None:
        self.query: Places = np.zeros(0, np.int64)
        self.place: Places = np.zeros(0, np.int64)
        self.image: Places = np.zeros(0, np.int64)
        self.distance: Numbers = np.zeros(0)
        self.ids: Names = np.zeros(0, object)
        # Vectors lie where they were put until there are too many; slots point to them.
        self.slot: Places = np.zeros(0, np.int64)
        self.vectors: list[Tensor] = [torch.zeros(0, width)]
        self.slots = 0

    def add(self, found: Hits, views: int) -> None:
        new = np.arange(self.slots, self.slots + len(found), dtype=np.int64)
        place = found.place.numpy()
        self.slots += len(found)
        self.vectors.append(found.h)
        self.query = np.concatenate([self.query, found.query.numpy()])
        self.place = np.concatenate([self.place, place])
        self.image = np.concatenate([self.image, place // views])
        self.distance = np.concatenate([self.distance, found.distance.numpy()])
        self.ids = np.concatenate([self.ids, _names(found.ids)])
        self.slot = np.concatenate([self.slot, new])

    def cut(self, count: int, depth: int, limit: Vector) -> None:
        """Keep what ``depth`` images of each query need, and lower ``limit`` to the last one."""
        order = np.lexsort((self.place, self.distance, self.query))
        query = self.query[order]
        # The first row of each image of each query, in this order.
        pair = query * (int(self.image.max(initial=0)) + 1) + self.image[order]
        first = np.zeros(len(order), bool)
        first[np.unique(pair, return_index=True)[1]] = True
        before = np.concatenate([[0], np.cumsum(first)])
        start = np.searchsorted(query, np.arange(count))
        # How many images of its query come before each row.
        nearer = before[:-1] - before[start[query]]
        last = first & (nearer == depth - 1)
        limit[torch.from_numpy(query[last])] = torch.from_numpy(self.distance[order][last])
        order = order[nearer < depth]
        for name in ("query", "place", "image", "distance", "ids", "slot"):
            setattr(self, name, getattr(self, name)[order])
        if self.slots > 1024 + SPARE * len(order):
            self._compact()

    def of(self, query: int, tally: Tally) -> Neighbours:
        """What is kept of one query, at the end."""
        if len(self.vectors) > 1:
            self._compact()
        mine = slice(*np.searchsorted(self.query, [query, query + 1]).tolist())
        h = self.vectors[0][mine].double()
        flat = int((row_norms(h, tally.constant) < SHORTEST).sum())
        return Neighbours(
            ids=self.ids[mine],
            image=self.image[mine],
            place=self.place[mine],
            distance=self.distance[mine],
            h=h,
            complete=len(h) == tally.rows,
            flat=flat < tally.flat,
        )

    def _compact(self) -> None:
        together = torch.cat(self.vectors)[torch.from_numpy(self.slot)]
        self.vectors, self.slots = [together], len(together)
        self.slot = np.arange(len(together), dtype=np.int64)


def _with_best(
    blocks: Iterable[Block],
    queries: Queries,
    limit: Vector,
    depth: int,
    device: torch.device | str,
) -> Iterator[Hits]:
    """The hits, of each chunk only rows that may be among those of the ``depth`` nearest images."""
    # The number of views is known from the first block on.
    opened = iter(blocks)
    leading = next(opened, None)
    if leading is None:
        return
    best = depth * leading.views
    yield from hits(chain([leading], opened), queries, limit, device=device, best=best)


def _names(names: list[str]) -> Names:
    """Names as an array of objects, never of fixed-width strings."""
    array = np.empty(len(names), object)
    array[:] = names
    return array
