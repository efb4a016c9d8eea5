"""Exact search over blocks of embeddings: a float32 product that may not miss, decided in float64.

Every row g_j of a block is compared with every query g_i by one matrix product in float32. Its
rounding error has a proven bound eta (:func:`rounding_margin`), so a row whose computed product is
more than eta below what a distance demands cannot be that near; all others are computed anew in
float64, where the decision falls. The number of rows that pass is small, and memory stays flat.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.metrics.embedding import SHORTEST
from percert.metrics.precision import full_precision
from percert.search.batches import stack
from percert.tensors import Embeddings, Vector

#: Rows that are compared with many queries at once, so that the product stays in cache; with fewer
#: than ``FEW`` queries more rows are.
ROWS, FEW = 16384, 8
#: Values of candidate rows that are held at once, and in float64 (which then stays in cache).
VALUES, WIDE_VALUES = 1 << 22, 1 << 18
#: Above this norm float32 products may overflow.
GREATEST_NORM = 1e30


class Block(Protocol):
    """Some images of a collection, in its order: ``m`` of them with ``views`` embeddings each.

    ``embeddings`` ``(m * views, k)`` is the raw h, float32 or float64, and ``norms`` its l2 norms:
    row r is view ``r % views`` of image ``ids[r // views]``.
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def embeddings(self) -> Embeddings: ...

    @property
    def norms(self) -> Vector: ...

    @property
    def views(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Queries:
    """Directions of q queries, float64: ``h`` ``(q, k)`` and ``last`` ``(q,)`` are the parts of
    g = unit([h; c]) without and with the constant c; both are 0 where a query has no direction.
    """

    h: Embeddings
    last: Vector
    constant: float

    def __len__(self) -> int:
        return len(self.h)

    @property
    def weight(self) -> Vector:
        """|g|^2: 1, or 0 for a query without a direction."""
        return (self.h.square().sum(1) + self.last.square() > 0.5).double()


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


def make_queries(features: Sequence[PixelFeatures], constant: float) -> Queries:
    """The directions of the rows of ``features``, which may have different bounds.

    ``constant`` is the metric's c. A row shorter than float rounding has no direction.
    """
    if not features:
        none = torch.zeros(0, dtype=torch.float64)
        return Queries(none[:, None], none, constant)
    width = features[0].h.shape[1]
    parts = [one.directions.cpu() for one in stack(features)]
    raw = torch.cat([one.norm.cpu() * one.bound.value for one in features])
    valid = raw.isfinite() & (raw >= SHORTEST)
    g = torch.where(valid[:, None], torch.cat(parts), 0.0)
    last = g[:, width] if constant else torch.zeros(len(g), dtype=torch.float64)
    return Queries(g[:, :width], last, constant)


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


def hits(
    blocks: Iterable[Block],
    queries: Queries,
    limit: Vector,
    *,
    device: torch.device | str = "cpu",
    best: int | None = None,
    keep: Callable[[Tensor, Tensor, Embeddings, Vector], Tensor] | None = None,
) -> Iterator[Hits]:
    """Every row whose distance from query i is at most ``limit[i]``, in the order of the blocks.

    ``limit`` ``(q,)``, float64, may be lowered between two hits by whoever reads them; ``-inf``
    wants nothing of a query. With ``best``, rows may be left out that cannot be among the so many
    nearest of all; with ``keep``, those that it leaves out of a ``(q, m)`` mask: it is called with
    cosines, mask, embeddings and norms of some rows. Distances are those of :func:`distances`. No
    other row is missed, whatever the rounding. Raises ``ValueError`` for embeddings of another
    width and norms that are not finite.
    """
    place = 0
    search = queries.h.to(device)
    narrow: dict[torch.dtype, Tensor] = {}
    for block in blocks:
        _check(block, queries)
        if block.embeddings.dtype not in narrow:
            narrow[block.embeddings.dtype] = search.to(block.embeddings.dtype)
        start, end = 0, len(block.embeddings)
        while start < end:
            stop = min(start + ROWS * max(1, FEW // max(1, len(queries))), end)
            h = block.embeddings[start:stop].to(device)
            norm = block.norms[start:stop].to(device, torch.float64)
            if queries.constant:
                norm = (norm.square() + queries.constant**2).sqrt()
            cosine = cosines(narrow[h.dtype], queries, h, norm)
            # d = (|g|^2 + |g_j|^2) / 2 - <g, g_j>, and rows without direction always pass.
            margin = rounding_margin(h.shape[1], h.dtype) + 1e-12
            least = (queries.weight + 1) / 2 - limit - margin
            passed = cosine >= _rounded_down(least, cosine.dtype)[:, None].to(device)
            pairs = passed.nonzero()
            if best is not None and len(pairs) > best * len(queries):
                pairs = (passed & _among_best(cosine, best, margin)).nonzero()
            if keep is not None and len(pairs):
                pairs = keep(cosine, passed, h, norm).nonzero()
            for some in torch.split(pairs, max(1, VALUES // max(1, h.shape[1]))):
                found = _decide(block, queries, limit, h, some, place, start)
                if len(found):
                    yield found
            start = stop
        place += end


def cosines(narrow: Tensor, queries: Queries, h: Embeddings, norm: Vector) -> Tensor:
    """``(q, m)`` cosines as the rows' own precision gives them; infinite where that is no use."""
    with full_precision(h.device):
        product = (h @ narrow[0])[None] if len(narrow) == 1 else narrow @ h.T
    if queries.constant:
        product += (queries.last * queries.constant).to(product)[:, None]
    # Twice: whether the shortest have a direction is for float64 to say.
    well = (norm >= 2 * SHORTEST) & (norm <= GREATEST_NORM)
    product *= torch.where(well, 1 / norm, 1.0).to(product)
    if not bool(well.all()):
        product[:, ~well] = torch.inf
    return product


def _among_best(cosine: Tensor, best: int, margin: float) -> Tensor:
    """Which of ``(q, m)`` rows may be among the ``best`` of each query, and those to be decided."""
    if cosine.shape[1] <= best:
        return torch.ones_like(cosine, dtype=torch.bool)
    # A row that is infinite, to be decided in float64, may turn out far away.
    sure = cosine.masked_fill(cosine == torch.inf, -torch.inf)
    worst = sure.topk(best, dim=1, sorted=False).values.amin(1).double()
    return cosine >= _rounded_down(worst - 2 * margin, cosine.dtype)[:, None]


def distances(query: Tensor, last: Vector, h: Embeddings, constant: float) -> Vector:
    """|g - g_j|^2 / 2 of p pairs in float64: the cosine distance, 0 to the last digit at identity.

    ``query`` ``(p, k)`` and ``last`` ``(p,)`` are directions, ``h`` ``(p, k)`` raw embeddings. An
    embedding shorter than float rounding (:data:`~percert.metrics.embedding.SHORTEST`) has no
    direction, g = 0: it is at 0 from another such and at 1/2 from all others.
    """
    norm = row_norms(h, constant)
    scale = torch.where(norm >= SHORTEST, 1 / norm, 0.0)
    far: Tensor = (query - h * scale[:, None]).norm(dim=1)
    return (far.square() + (last - constant * scale).square()) / 2


def row_norms(h: Embeddings, constant: float) -> Vector:
    """|[h; c]| of each row, float64."""
    norm: Tensor = h.norm(dim=1)
    return torch.hypot(norm, torch.full_like(norm, constant))


def _decide(
    block: Block,
    queries: Queries,
    limit: Vector,
    h: Embeddings,
    pairs: Tensor,
    place: int,
    start: int,
) -> Hits:
    """The pairs ``(p, 2)`` of query and row whose distance in float64 is within the limit."""
    narrow, pairs = h[pairs[:, 1]].cpu(), pairs.cpu()
    parts = max(1, WIDE_VALUES // max(1, h.shape[1]))
    distance = torch.cat(
        [
            distances(queries.h[query], queries.last[query], part.double(), queries.constant)
            for part, query in zip(
                torch.split(narrow, parts), torch.split(pairs[:, 0], parts), strict=True
            )
        ]
    )
    near = distance <= limit[pairs[:, 0]]
    query, row = pairs[near].T
    row = row + start
    return Hits(
        query=query,
        place=row + place,
        ids=[block.ids[at // block.views] for at in row.tolist()],
        h=narrow[near],
        distance=distance[near],
    )


def _rounded_down(least: Vector, dtype: torch.dtype) -> Tensor:
    """``least`` in ``dtype``, not above what it is."""
    narrow = least.to(dtype)
    return torch.where(narrow.double() > least, narrow.nextafter(narrow.new_tensor(-9.0)), narrow)


def _check(block: Block, queries: Queries) -> None:
    if block.embeddings.shape[1] != queries.h.shape[1]:
        raise ValueError(
            f"collection: expected embeddings of width {queries.h.shape[1]}, "
            f"found {block.embeddings.shape[1]}"
        )
    if not bool(block.norms.isfinite().all()):
        row = int(block.norms.isfinite().logical_not().nonzero()[0, 0])
        name = block.ids[row // block.views]
        raise ValueError(f"collection: the embedding of {name} is not finite")
    if len(block.ids) * block.views != len(block.embeddings):
        raise ValueError(
            f"collection: expected {block.views} embeddings for each of {len(block.ids)} images, "
            f"found {len(block.embeddings)}"
        )
