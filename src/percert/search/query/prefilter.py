"""The rows within a distance of a query: a float32 prefilter that misses none, then float64.

A stored row may have a threshold of its own, t_r. A query that turns by at most phi comes within it
only if its cosine is now at least cos(A_r + phi) = (1 - t_r) cos phi - sqrt(1 - (1 - t_r)^2) sin
phi with A_r = acos(1 - t_r): a product of two numbers of the row with two of the query, which is
subtracted from all cosines at once.

Every row g_j of a block is compared with every query g_i by one matrix product in float32. Its
rounding error has a proven bound eta (:func:`rounding_margin`), so a row whose computed product is
more than eta below what is wanted cannot be one of those. Few are left, and memory stays flat.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.device import full_precision
from percert.metrics.certified.embedding import SHORTEST
from percert.search.query.distances import Queries, distances, image_ids
from percert.search.tables.scan import Block
from percert.tensors import Embeddings, Vector

#: Products that are held at once, so that they stay in cache, and rows at most.
PRODUCTS, ROWS = 1 << 21, 1 << 17
#: Rows of one product of several queries.
TILE = 2048
#: So many rows are first looked at together, by the greatest product of them all.
TOGETHER = 32
#: Above this norm float32 products may overflow.
GREATEST_NORM = 1e30
#: Values of rows that are held at once, and in float64 (which then stays in cache).
VALUES, WIDE_VALUES = 1 << 23, 1 << 19


@dataclass(frozen=True, eq=False)
class Pairs:
    """Queries and rows of a block that passed, ``(p,)`` each, with the computed cosine of the two:
    infinite where only float64 can say it.
    """

    query: Tensor
    row: Tensor
    cosine: Tensor

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, index: Tensor | slice) -> "Pairs":
        return Pairs(self.query[index], self.row[index], self.cosine[index])


def rounding_margin(width: int, dtype: torch.dtype) -> float:
    """eta: how far a computed cosine may be off, for embeddings of ``width`` values.

    A sum of n products in any order errs by at most n u / (1 - n u) |x| |y| with u half the spacing
    of floats at 1 (Higham 2002, Section 3.1). The norm, its inverse, the constant and rounding the
    query add a few u; 16 stand for them.

    >>> rounding_margin(1024, torch.float32) < 7e-5
    True
    """
    u = torch.finfo(dtype).eps / 2
    terms = (width + 16) * u
    if terms >= 0.5:
        raise ValueError(f"width: embeddings of {width} values are too wide for {dtype}")
    return terms / (1 - terms)


class Prefilter:
    """Drops the rows of a collection whose product with a query is proven to be below ``least``.

    ``queries`` are vectors of length at most 1, ``least`` ``(q,)`` float64. With ``best`` the
    threshold of a query rises by itself, to the ``best``-th largest product that has been seen. No
    row that reaches it is missed, whatever the rounding; rows without a direction always pass.
    With ``swing`` ``(q, 2)``, (cos phi, -sin phi) of each query, what counts is by how much a
    product is above what the row's own threshold asks.
    """

    def __init__(
        self,
        queries: Queries,
        least: Vector,
        *,
        device: torch.device | str = "cpu",
        best: int | None = None,
        swing: Tensor | None = None,
    ) -> None:
        self.queries = queries
        self.least = least.to(device)
        self._swing = None if swing is None else swing.to(device)
        self.best = best
        self._h = queries.h.to(device)
        self._shift = (queries.last * queries.constant).to(device)[:, None]
        self._narrow = self._h
        self._finite = self._h.isfinite().all(1)
        self._margin = 0.0
        self._top: Tensor | None = None

    def passing(self, block: Block, thresholds: Vector | None = None) -> Iterator[Pairs]:
        """The pairs of ``block``, part by part in its order, on the CPU.

        ``thresholds`` ``(m,)`` are the distances of its rows' own, where there is a swing. Raises
        ``ValueError`` for embeddings of another width, and any that are not finite.
        """
        check_block(block, self.queries)
        dtype, count = block.embeddings.dtype, len(self.queries)
        if self._narrow.dtype != dtype:
            self._narrow = self._h.to(dtype)
        # Eight more for what a row's own threshold takes off.
        width = self._h.shape[1] + (0 if self._swing is None else 8)
        self._margin = max(self._margin, rounding_margin(width, dtype) + 1e-12)
        inverse, odd = _inverse_norms(block, self.queries.constant)
        step = max(1, min(ROWS, PRODUCTS // max(1, count)))
        for start in range(0, len(block.embeddings), step):
            h = block.embeddings[start : start + step].to(self._h.device)
            cosine = self._cosines(h, inverse[start : start + step].to(h))
            if self._swing is not None and thresholds is not None:
                level = 1 - thresholds[start : start + step].to(self._swing)
                sides = torch.stack([level, (1 - level.square()).clamp_min(0).sqrt()])
                cosine = cosine - (self._swing @ sides).to(h)
            ill = odd[(odd >= start) & (odd < start + step)]
            if len(ill):
                cosine[:, (ill - start).to(h.device)] = -torch.inf
            pairs = self._pairs(cosine)
            query, row, value = pairs.query.cpu(), pairs.row.cpu() + start, pairs.cosine.cpu()
            if len(ill):
                query = torch.cat([query, torch.arange(count).repeat_interleave(len(ill))])
                row = torch.cat([row, ill.repeat(count)])
                value = torch.cat([value, value.new_full((count * len(ill),), torch.inf)])
            yield Pairs(query, row, value)

    def passes(self, query: Tensor, cosine: Tensor) -> Tensor:
        """Which pairs ``(p,)`` of a query and a computed cosine still pass."""
        return cosine >= (self.least.cpu() - self._margin)[query]

    def bound(self, query: Tensor, distance: Vector) -> None:
        """No longer let pass what lies farther from the queries at ``query`` than ``distance``."""
        enough = (self.queries.weight[query] + 1) / 2 - distance - 1e-12
        self.least[query] = torch.maximum(self.least[query], enough.to(self.least))

    def _cosines(self, h: Tensor, inverse: Vector) -> Tensor:
        """``(q, m)`` products with the queries over the rows' norms, in the rows' precision."""
        shift = self._shift.to(h)
        cosine = h.new_empty(len(self._narrow), len(h))
        with full_precision(h.device):
            if len(cosine) == 1:
                return (h @ self._narrow[0]).add_(shift[0]).mul_(inverse)[None]
            # Products of few rows are the fastest.
            for start in range(0, len(h), TILE):
                some = slice(start, start + TILE)
                product = self._narrow @ h[some].T
                if self.queries.constant:
                    product += shift
                torch.mul(product, inverse[some], out=cosine[:, some])
        return cosine

    def _pairs(self, cosine: Tensor) -> Pairs:
        """Those of ``(q, m)`` products that are large enough, query by query."""
        count = cosine.shape[1]
        groups = min(count, max(count // TOGETHER, 4 * (self.best or 0), 1))
        greatest = _greatest(cosine, groups)
        # A maximum is NaN where one of the products is: no row may be lost with it.
        if bool((greatest.isnan().any(1) & self._finite).any()):
            raise ValueError(
                "collection: an embedding is not finite, though its norm is; "
                "`percert index verify` names the image"
            )
        if self.best is not None:
            top = greatest if self._top is None else torch.cat([self._top.to(cosine), greatest], 1)
            if top.shape[1] >= self.best:
                top = top.topk(self.best, dim=1, sorted=False).values
                self.least = torch.maximum(self.least, top.amin(1).double() - self._margin)
            self._top = top
        least = _rounded_down(self.least - self._margin, cosine.dtype)
        query, group = (greatest >= least[:, None]).nonzero().T
        row = group[:, None] + groups * torch.arange(-(-count // groups), device=group.device)
        value = cosine.take(query[:, None] * count + row.clamp_max(count - 1))
        passed = (value >= least[query][:, None]) & (row < count) & (value > -torch.inf)
        return Pairs(query[:, None].expand(row.shape)[passed], row[passed], value[passed])


def _greatest(cosine: Tensor, groups: int) -> Tensor:
    """``(q, groups)``: the greatest of the columns j, groups + j, 2 groups + j and so on."""
    whole = cosine.shape[1] // groups
    greatest = cosine[:, : whole * groups].reshape(len(cosine), whole, groups).amax(1)
    rest = cosine[:, whole * groups :]
    head = greatest[:, : rest.shape[1]]
    torch.maximum(head, rest, out=head)
    return greatest


def _inverse_norms(block: Block, constant: float) -> tuple[Vector, Tensor]:
    """1 / |[h; c]| in the rows' precision, and the rows where that is no use, for float64."""
    norm = block.norms.to(block.embeddings.dtype)
    if constant:
        norm = norm.square().add_(constant**2).sqrt_()
    low, high = norm.aminmax() if len(norm) else (SHORTEST * 2, 0.0)
    # Twice: whether the shortest have a direction is for float64 to say.
    if low >= 2 * SHORTEST and high <= GREATEST_NORM:
        return 1 / norm, torch.zeros(0, dtype=torch.long)
    well = (norm >= 2 * SHORTEST) & (norm <= GREATEST_NORM)
    if not bool(block.norms.isfinite().all()):
        row = int(block.norms.isfinite().logical_not().nonzero()[0, 0])
        name = block.ids[row // block.views]
        raise ValueError(f"collection: the embedding of {name} is not finite")
    return torch.where(well, 1 / norm, 1.0), well.logical_not().nonzero()[:, 0]


def _rounded_down(least: Vector, dtype: torch.dtype) -> Tensor:
    """``least`` in ``dtype``, not above what it is."""
    narrow = least.to(dtype)
    return torch.where(narrow.double() > least, narrow.nextafter(narrow.new_tensor(-9.0)), narrow)


def check_block(block: Block, queries: Queries) -> None:
    if block.embeddings.shape[1] != queries.h.shape[1]:
        raise ValueError(
            f"collection: expected embeddings of width {queries.h.shape[1]}, "
            f"found {block.embeddings.shape[1]}"
        )
    if len(block.ids) * block.views != len(block.embeddings):
        raise ValueError(
            f"collection: expected {block.views} embeddings for each of {len(block.ids)} images, "
            f"found {len(block.embeddings)}"
        )


@dataclass(frozen=True, eq=False)
class NearRows:
    """Rows within the limit of a query, one entry a pair of the two: which ``query`` ``(p,)``, the
    row's ``place`` among all, the id of its image, its raw embedding ``h`` ``(p, k)`` as stored,
    and its ``distance`` from the query.
    """

    query: Tensor
    place: Tensor
    ids: list[str]
    h: Embeddings
    distance: Vector

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, query: int) -> "NearRows":
        """Those of one query."""
        mine = (self.query == query).nonzero()[:, 0]
        ids = [self.ids[row] for row in mine.tolist()]
        return NearRows(self.query[mine], self.place[mine], ids, self.h[mine], self.distance[mine])


def rows_within(
    block: Block,
    thresholds: Vector,
    queries: Queries,
    turns: Vector,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[NearRows]:
    """Every row of ``block`` that a query could have within the row's own threshold.

    ``thresholds`` ``(m,)`` are distances in [0, 2], and ``turns`` ``(q,)`` how far each query may
    turn, pi for one without a direction; places count in the block. No row is missed.
    """
    angles = (1 - thresholds).clamp(-1, 1).acos()
    widest = float(angles.max()) if len(angles) else 0.0
    # Where a turn could pass pi the product says nothing, and float64 decides alone.
    strict = (turns + widest < math.pi) & (queries.weight > 0.5)
    swing = torch.stack([turns.cos(), -turns.sin()], 1) * strict[:, None]
    least = torch.where(strict, -1e-12, -torch.inf)
    prefilter = Prefilter(queries, least, device=device, swing=swing)
    for pairs in prefilter.passing(block, thresholds):
        for some in in_memory(pairs, block):
            h = block.embeddings[some.row]
            distance = pair_distances(queries, some.query, h)
            reached = (angles[some.row] + turns[some.query]).clamp_max(math.pi)
            near = distance <= 1 - reached.cos() + 1e-12
            if bool(near.any()):
                query, row = some.query[near], some.row[near]
                yield NearRows(query, row, image_ids(block, row), h[near], distance[near])


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
