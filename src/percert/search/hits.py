"""Every row within a distance of a query: found by a float32 product, decided in float64."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.search.exact import Block, Queries, distances, image_ids
from percert.search.passing import Pairs, Sieve
from percert.tensors import Embeddings, Vector

#: Values of rows that are held at once, and in float64 (which then stays in cache).
VALUES, WIDE_VALUES = 1 << 23, 1 << 19


@dataclass(frozen=True, eq=False)
class Hits:
    """Rows that are near enough to a query, one entry a pair: the row's place among all ``(p,)``,
    the id of its image, its raw embedding ``(p, k)`` as stored and its distance from the query.
    """

    query: Tensor
    place: Tensor
    ids: list[str]
    h: Embeddings
    distance: Vector

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, query: int) -> "Hits":
        """Those of one query."""
        mine = (self.query == query).nonzero()[:, 0]
        ids = [self.ids[row] for row in mine.tolist()]
        return Hits(self.query[mine], self.place[mine], ids, self.h[mine], self.distance[mine])


def hits(
    blocks: Iterable[Block],
    queries: Queries,
    limit: Vector,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[Hits]:
    """Every row whose distance from query i is at most ``limit[i]``, in the order of the blocks.

    ``limit`` is ``(q,)``, float64. Distances are those of :func:`percert.search.exact.distances`.
    No row is missed, whatever the rounding. Raises ``ValueError`` for embeddings of another width
    and norms that are not finite.
    """
    # d = (|g|^2 + |g_j|^2) / 2 - <g, g_j>, and rows without direction always pass.
    sieve = Sieve(queries, (queries.weight + 1) / 2 - limit, device=device)
    place = 0
    for block in blocks:
        for pairs in sieve.passing(block):
            for some in in_memory(pairs, block):
                h = block.embeddings[some.row]
                distance = pair_distances(queries, some.query, h)
                near = distance <= limit[some.query]
                if bool(near.any()):
                    query, row = some.query[near], some.row[near]
                    ids = image_ids(block, row)
                    yield Hits(query, row + place, ids, h[near], distance[near])
        place += len(block.embeddings)


def in_memory(pairs: Pairs, block: Block) -> Iterator[Pairs]:
    """``pairs`` in parts whose rows may be held at once."""
    step = max(1, VALUES // max(1, block.embeddings.shape[1]))
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step]


def pair_distances(queries: Queries, query: Tensor, h: Embeddings) -> Vector:
    """The distances ``(p,)`` of the queries at ``query`` from raw rows ``(p, k)``, in float64."""
    step = max(1, WIDE_VALUES // max(1, h.shape[1]))
    parts = [
        distances(queries.h[at], queries.last[at], some.double(), queries.constant)
        for at, some in zip(torch.split(query, step), torch.split(h, step), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
