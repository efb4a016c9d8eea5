"""The second pass (re-rank): all rows that could overtake the first image of a query.

Queries that have a copy in the collection leave the first pass in doubt: their first image stays
the first for a long way, and by its angle alone a large part of the collection could overtake it
within that. Whether a row does depends on its product with the first as well. So this pass takes
one product of each row with a vector between the query and the first, which bounds both products,
and few rows pass it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.pairs import distance_of_features
from percert.search.query.distances import Queries, image_ids, stack
from percert.search.query.overtaking import (
    has_direction,
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
    """The queries that the first pass leaves open: rows that it has not kept could be their rivals,
    images that overtake the first within a radius that matters.

    ``queries`` are p batches of one row, ``first`` ``(p, k)`` their first images as stored, and
    ``needed`` ``(p,)`` the radii up to which a rival matters. ``apart`` ``(p,)`` is about how far
    the unit vectors of first and rival are from each other: the better it is guessed, the fewer
    other rows pass, but every number above 0 is right.
    """

    queries: Sequence[PixelFeatures]
    first: PixelFeatures
    needed: Vector
    apart: Vector


@dataclass(frozen=True, eq=False)
class RivalRows:
    """Rows that may be rivals, one entry a pair: the number of the open ``query`` ``(p,)``, the
    row's ``place`` in the collection, the id of its image, and its raw embedding ``h`` ``(p, k)``.
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
    """The second pass: all rows that could overtake the first image of an open query within the
    radius ``needed``. Some that could not may come as well, but none is missed.
    """
    between, least = tangent_queries(open_queries, constant)
    prefilter, start = Prefilter(between, least, device=device), 0
    for block in blocks:
        for pairs in prefilter.passing(block):
            for some in in_memory(pairs, block):
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
    upright = torch.cat([has_direction(part) for part in together]) & has_direction(
        open_queries.first
    )
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
    """``(4, p)``: the radius of each rival against the open query that ``which`` names, and its
    distance from the query with lower and upper bound.
    """
    queries, first = stack(open_queries.queries), open_queries.first.rows(which)
    upright = all(bool(has_direction(one).all()) for one in (*queries, first, rivals))
    if upright and len(queries) == 1:
        query = queries[0].rows(which)
        now = distance_of_features(query, rivals, eps, perturbed="reference")
        radii = pair_radii(query, first, rivals)
        return torch.stack([radii, now.distance, now.lower, now.upper])
    columns = torch.zeros(4, len(which), dtype=torch.float64)
    for at in torch.unique(which).tolist():
        index, query = (which == at).nonzero()[:, 0], open_queries.queries[at]
        mine = rivals.rows(index)
        columns[0, index] = rival_radii(query, open_queries.first.rows(torch.tensor([at])), mine)[0]
        columns[1:, index] = torch.stack(stays_within(query, mine, eps)).double()
    return columns
