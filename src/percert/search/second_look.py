"""A second pass for the rivals that the nearest rows alone leave in doubt.

A copy of a stored image stays the first for a long way, and by its angle alone a large part of the
collection could overtake it. Whether a row does depends on its product with the first as well:
both are computed in float32, with the proven margin, and few rows are left for float64.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.turning import cosine_distance
from percert.search.batches import stack
from percert.search.exact import VALUES, Block, Hits, Queries, cosines, hits, rounding_margin
from percert.search.rivals import angle_that_clears, has_direction, tilt
from percert.tensors import Embeddings, Vector

#: Pairs are gathered where they are at most this share of a product.
FEW = 1 / 16
#: Rounding of the few operations after the products, in float32.
AFTER = 1e-6


@dataclass(frozen=True)
class Doubt:
    """A query and its first image, one row each, and up to which radius a rival matters.

    ``flat`` says that there may be rivals without a direction.
    """

    query: PixelFeatures
    first: PixelFeatures
    needed: float
    flat: bool


def rivals_within(
    blocks: Iterable[Block],
    queries: Queries,
    doubts: Sequence[Doubt],
    *,
    device: torch.device | str = "cpu",
) -> Iterator[Hits]:
    """Every row whose radius as a rival of the first may be at most ``needed``, for each doubt.

    The place of a query in ``queries`` is that of its doubt. Some rows may come whose radius is
    larger, but none is missed.
    """
    together, firsts = stack([one.query for one in doubts]), [one.first for one in doubts]
    pairs = list(zip(together, stack(firsts) if len(together) == 1 else firsts, strict=True))
    needed = torch.tensor([one.needed for one in doubts], dtype=torch.float64)
    parts = torch.split(needed, [len(query.h) for query, _ in pairs])
    theta = [angle_that_clears(*pair, part) for pair, part in zip(pairs, parts, strict=True)]
    far = torch.cat(theta)
    limit = torch.where(far < math.pi, cosine_distance(far.clamp(0, math.pi)) + 1e-12, 2.0)
    flat = torch.tensor([one.flat for one in doubts])
    limit = torch.where(flat, limit.clamp_min(0.5), limit)
    rho = torch.cat([_share(*pair, part) for pair, part in zip(pairs, parts, strict=True)])
    keep = _filter(torch.cat([first.directions for _, first in pairs]), pairs[0][1], rho, queries)
    yield from hits(blocks, queries, limit, device=device, keep=keep)


def _filter(
    g: Tensor, first: PixelFeatures, rho: Vector, queries: Queries
) -> Callable[[Tensor, Tensor, Embeddings, Vector], Tensor]:
    """Which of the pairs that passed may matter, by what is known of the rows in float32.

    Row j overtakes at n (s_1 - s_j - xi) / (|u| + xi) with u = g_1 - g_j, and |u|^2 <= 2 - 2 t_j,
    where s and t are the products with the query and with the first; ``rho`` is what the query
    moves as a share of n.
    """
    width = queries.h.shape[1]
    last = g[:, width] if queries.constant else torch.zeros(len(g), dtype=torch.float64)
    firsts = Queries(g[:, :width], last, queries.constant)
    s_1 = (queries.h * firsts.h).sum(1) + queries.last * last
    xi = torch.full_like(s_1, 2 * tilt(first))

    def keep(cosine: Tensor, passed: Tensor, h: Embeddings, norm: Vector) -> Tensor:
        margin = rounding_margin(width, h.dtype) + AFTER
        head, share, slack = ((one.to(cosine)) for one in (s_1 - xi - margin, rho, xi))
        narrow = firsts.h.to(h)

        def near(s: Tensor, t: Tensor, at: Tensor) -> Tensor:
            u = (2 - 2 * t + 2 * margin).clamp_min(0).sqrt()
            enough = share[at] * (u + slack[at]) * (1 + AFTER) + AFTER
            return (head[at] - s <= enough) | (s == torch.inf) | ~t.isfinite() | share[at].isinf()

        count = int(passed.sum())
        if count > FEW * passed.numel() or count * width > VALUES:
            every = torch.arange(len(cosine), device=cosine.device)[:, None]
            return passed & near(cosine, cosines(narrow, firsts, h, norm), every)
        query, row = passed.nonzero().T
        t = (h[row] * narrow[query]).sum(1)
        if firsts.constant:
            t += (firsts.last * firsts.constant).to(t)[query]
        kept = torch.zeros_like(passed)
        kept[query, row] = near(cosine[query, row], t / norm.to(t)[row], query)
        return kept

    return keep


def _share(query: PixelFeatures, first: PixelFeatures, needed: Vector) -> Vector:
    """How far the computed embedding may move in all, as a share of its norm.

    Infinite for what has no direction: that follows another rule, and is for float64.
    """
    upright = has_direction(query) & has_direction(first)
    return torch.where(upright, query.moved(needed) / query.norm, torch.inf)


def part_of(queries: Queries, index: Sequence[int]) -> Queries:
    """Some of ``queries``."""
    these = torch.tensor(index, dtype=torch.long)
    return replace(queries, h=queries.h[these], last=queries.last[these])
