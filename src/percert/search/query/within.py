"""The exact check, in float64, of the rows that the prefilter passes, by their own thresholds."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from percert.search.query.distances import Queries, distances, image_ids
from percert.search.query.levels import Levels
from percert.search.query.prefilter import VALUES, Pairs, Prefilter, join_pairs
from percert.search.tables.scan import Block
from percert.tensors import Embeddings, Vector

#: Values of rows that are held at once in float64, which then stays in cache.
WIDE_VALUES = 1 << 19


@dataclass(frozen=True, eq=False)
class NearRows:
    """Rows that a query could have within their threshold, one entry a (query, row) pair.

    ``query`` ``(p,)`` is its number, ``place`` the row's place among all, ``ids`` the image's id,
    ``h`` ``(p, k)`` the raw embedding as stored, and ``distance`` ``(p,)`` that from the query.
    """

    query: Tensor
    place: Tensor
    ids: list[str]
    h: Embeddings
    distance: Vector

    def __len__(self) -> int:
        return len(self.ids)

    def by_query(self) -> Iterator[tuple[int, "NearRows"]]:
        """Those of each query that has any, with its number."""
        numbers = torch.unique(self.query).tolist() if len(self) > 1 else self.query.tolist()
        for query in numbers:
            yield query, self if len(numbers) == 1 else self._of(query)

    def _of(self, query: int) -> "NearRows":
        mine = (self.query == query).nonzero()[:, 0]
        ids = [self.ids[row] for row in mine.tolist()]
        return NearRows(self.query[mine], self.place[mine], ids, self.h[mine], self.distance[mine])


def rows_within(
    block: Block,
    levels: Levels,
    queries: Queries,
    turns: Vector,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[NearRows]:
    """Every row of ``block`` that a query could come within the own threshold of; none is missed.

    ``levels`` are the rows' thresholds, and ``turns`` ``(q,)`` the angles by which each query may
    turn, pi for one without a direction. Places are counted within the block.
    """
    # Where a turn could pass pi the product says nothing, and float64 decides alone.
    strict = (turns + levels.widest < math.pi) & (queries.weight > 0.5)
    swing = torch.stack([turns.cos(), -turns.sin()], 1) * strict[:, None]
    least = torch.where(strict, -1e-12, -torch.inf)
    prefilter = Prefilter(queries, least, device=device, swing=swing)
    passing = prefilter.passing(block, levels)
    if (compared := levels.compared) is not None:
        passing = (pairs[compared[pairs.row]] for pairs in passing)
    for some in in_memory(passing, block):
        h = block.embeddings[some.row]
        distance = pair_distances(queries, some.query, h)
        # In NumPy, whose calls cost less: mostly there is a single row, or none.
        level = 1 - levels.thresholds.numpy()[some.row.numpy()]
        reached = np.arccos(level.clip(-1, 1)) + turns.numpy()[some.query.numpy()]
        near = distance.numpy() <= 1 - np.cos(np.minimum(reached, math.pi)) + 1e-12
        query, row = some.query, some.row
        if not near.all():
            kept = torch.from_numpy(near.nonzero()[0])
            query, row, h, distance = (one[kept] for one in (query, row, h, distance))
        if len(row):
            yield NearRows(query, row, image_ids(block, row), h, distance)


def in_memory(parts: Iterable[Pairs], block: Block) -> Iterator[Pairs]:
    """The pairs of ``parts``, as many at once as have rows that fit in memory.

    What follows costs as much for one pair as for a hundred, so that few are not taken alone.
    """
    most, waiting = max(1, VALUES // max(1, block.embeddings.shape[1])), 0
    held: list[Pairs] = []
    for pairs in parts:
        for start in range(0, len(pairs), most):
            some = pairs[start : start + most]
            if waiting + len(some) > most:
                yield join_pairs(held)
                held, waiting = [], 0
            held.append(some)
            waiting += len(some)
    if held:
        yield join_pairs(held)


def pair_distances(queries: Queries, query: Tensor, h: Embeddings) -> Vector:
    """Exact distances ``(p,)``, float64, of the queries at ``query`` from raw rows ``(p, k)``."""
    step, parts = max(1, WIDE_VALUES // max(1, h.shape[1])), []
    for start in range(0, len(h), step):
        some = slice(start, start + step)
        at = slice(None) if len(queries) == 1 else query[some]
        g, last = queries.h[at], queries.last[at]
        parts.append(distances(g, last, h[some].double(), queries.constant))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
