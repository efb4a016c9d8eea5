"""The second pass (re-rank): all rows that could overtake the first image of a query.

Queries that have a copy in the collection are left open by the first pass: their nearest image
stays the first for a long way, and by the angle alone a large part of the collection could overtake
it within that. Whether a row can depends on its product with the nearest image as well. So this
pass takes one product of each row with a vector between query and nearest image, which bounds both
products, and few rows pass.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.pairs import FeaturePairs
from percert.search.query.distances import Queries, image_ids, stack
from percert.search.query.overtaking import (
    pair_radii,
    rival_radii,
    stays_within,
    tilt,
)
from percert.search.query.prefilter import Prefilter
from percert.search.query.within import in_memory
from percert.search.tables.scan import Block
from percert.tensors import Embeddings, Vector

#: By how much |u_k| may be above |u| in :func:`percert.search.query.overtaking.rival_radii`.
GRAM_LENGTH = 2e-6


@dataclass(frozen=True, eq=False)
class OpenQueries:
    """The p queries that the first pass leaves open: rows that it left out could be their rivals.

    A rival is an image that overtakes the nearest one within a radius that matters. ``queries`` are
    batches of one row, ``first`` ``(p, k)`` their nearest images as stored, and ``needed`` ``(p,)``
    the radii up to which a rival matters. ``apart`` ``(p,)`` is a guess of the distance between the
    unit vectors of the nearest image and its rivals: the better it is, the fewer other rows pass,
    but every number above 0 gives a right answer.
    """

    queries: Sequence[PixelFeatures]
    first: PixelFeatures
    needed: Vector
    apart: Vector


@dataclass(frozen=True, eq=False)
class RivalRows:
    """Rows that may be rivals, one entry a (query, row) pair.

    ``query`` ``(p,)`` is the number of the open query, ``place`` the row's place in the collection,
    ``ids`` the image's id, and ``h`` ``(p, k)`` the raw embedding.
    """

    query: Tensor
    place: Tensor
    ids: list[str]
    h: Embeddings


def rivals_within(
    blocks: Iterable[Block],
    open_queries: OpenQueries,
    constant: float,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[RivalRows]:
    """All rows that could overtake the first image of an open query within its radius ``needed``.

    None is missed; some that could not overtake may be among them.
    """
    between, least = tangent_queries(open_queries, constant)
    prefilter, start = Prefilter(between, least, device=device), 0
    for block in blocks:
        for some in in_memory(prefilter.passing(block), block):
            ids = image_ids(block, some.row)
            yield RivalRows(some.query, some.row + start, ids, block.embeddings[some.row])
        start += len(block.embeddings)


def tangent_queries(open_queries: OpenQueries, constant: float) -> tuple[Queries, Vector]:
    """Vectors w of length at most 1, and the least product <w, g_j> of a row j that matters.

    With s and t the products of g_j with the query and the first, and u = g_1 - g_j, row j
    overtakes within a radius if s_1 - s_j <= xi + rho (|u_k| + xi), where ``rho`` is the share of
    its norm that the query may move. For every a > 0, |u| <= (|u|^2 + a^2) / (2 a), the tangent at
    |u| = a, and |u|^2 = 2 - 2 t: so s_j - rho t_j / a >= s_1 - xi (1 + rho) - rho (1 / a + a / 2).
    """
    apart, g_1 = open_queries.apart.clamp_min(1e-3), open_queries.first.directions
    together = stack(open_queries.queries)
    g = torch.cat([part.directions for part in together])
    norm = torch.cat([part.norm for part in together])
    upright = torch.cat([part.upright for part in together]) & open_queries.first.upright
    parts = torch.split(open_queries.needed, [len(part.h) for part in together])
    moved = [part.moved(needed) for part, needed in zip(together, parts, strict=True)]
    share = torch.cat(moved) / norm
    known = upright & share.isfinite()
    rho = torch.where(known, share, 0.0)
    xi = 2 * tilt(open_queries.first)
    least = (g * g_1).sum(1) - xi * (1 + rho) - rho * (1 / apart + apart / 2 + GRAM_LENGTH) - 1e-12
    length = 1 + rho / apart
    w = (g - (rho / apart)[:, None] * g_1) / length[:, None]
    w = torch.where(known[:, None], w, 0.0)  # all rows pass, even of a query that is not finite
    width = open_queries.first.h.shape[1]
    last = w[:, width] if constant else torch.zeros_like(rho)
    return Queries(w[:, :width], last, constant), torch.where(known, least / length, -torch.inf)


def rival_distances(
    open_queries: OpenQueries, which: Tensor, rivals: PixelFeatures, eps: float
) -> Tensor:
    """Radius, distance, lower and upper bound of each rival, ``(4, p)``.

    ``which`` names the open query that each rival belongs to; the bounds hold after a move of eps.
    """
    queries, first = stack(open_queries.queries), open_queries.first.rows(which)
    upright = all(bool(one.upright.all()) for one in (*queries, first, rivals))
    if upright and len(queries) == 1:
        query = queries[0].rows(which)
        pairs = FeaturePairs(query, rivals)
        radii, bounds = pair_radii(query, first, rivals), pairs.bounds(eps, "reference")
        return torch.stack([radii, pairs.distance, *bounds])
    columns = torch.zeros(4, len(which), dtype=torch.float64)
    for at in torch.unique(which).tolist():
        index, query = (which == at).nonzero()[:, 0], open_queries.queries[at]
        mine = rivals.rows(index)
        columns[0, index] = rival_radii(query, open_queries.first.rows(torch.tensor([at])), mine)[0]
        columns[1:, index] = torch.stack(stays_within(FeaturePairs(query, mine), eps)).double()
    return columns
