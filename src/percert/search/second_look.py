"""A second pass for the rivals that the nearest rows alone leave in doubt.

A copy of a stored image stays the first for a long way, and by its angle alone a large part of the
collection could overtake it. Whether a row does depends on its product with the first as well. One
product with a vector between the query and the first bounds both, and few rows pass it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.search.batches import stack
from percert.search.exact import Block, Queries, image_ids
from percert.search.hits import in_memory
from percert.search.passing import Sieve
from percert.search.rivals import has_direction, tilt
from percert.tensors import Embeddings, Vector

#: By how much |u_k| may be above |u| in :func:`percert.search.rivals.rival_radii`.
GRAM_LENGTH = 2e-6


@dataclass(frozen=True, eq=False)
class Doubts:
    """Some queries, one row each, their first images, ``(p, k)`` stored, and up to which radius
    ``(p,)`` a rival matters.

    ``apart`` ``(p,)`` is about how far the unit vectors of the first and of the rivals that matter
    are from each other: the closer, the fewer other rows come, but every number above 0 is right.
    """

    queries: Sequence[PixelFeatures]
    first: PixelFeatures
    needed: Vector
    apart: Vector


@dataclass(frozen=True, eq=False)
class Rivals:
    """Pairs of a doubt and a row that may be its rival, ``(p,)``: the row's place in the
    collection, the id of its image, and its raw embedding ``(p, k)``.
    """

    doubt: Tensor
    place: Tensor
    ids: list[str]
    h: Embeddings


def rivals_within(
    blocks: Iterable[Block],
    doubts: Doubts,
    constant: float,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[Rivals]:
    """Every row whose radius as a rival of the first may be at most ``needed``, for each doubt.

    Some rows may come whose radius is larger, but none is missed.
    """
    between, least = tangents(doubts, constant)
    sieve, start = Sieve(between, least, device=device), 0
    for block in blocks:
        for pairs in sieve.passing(block):
            for some in in_memory(pairs, block):
                ids = image_ids(block, some.row)
                yield Rivals(some.query, some.row + start, ids, block.embeddings[some.row])
        start += len(block.embeddings)


def tangents(doubts: Doubts, constant: float) -> tuple[Queries, Vector]:
    """Vectors w no longer than 1, and what <w, g_j> is at least for each row j that matters.

    With s and t the products of g_j with the query and the first, and u = g_1 - g_j, row j
    overtakes within a radius if s_1 - s_j <= xi + rho (|u_k| + xi), where ``rho`` is the share of
    its norm that the query may move. For every a > 0, |u| <= (|u|^2 + a^2) / (2 a), the tangent at
    |u| = a, and |u|^2 = 2 - 2 t: so s_j - rho t_j / a >= s_1 - xi (1 + rho) - rho (1 / a + a / 2).
    """
    apart, g_1 = doubts.apart.clamp_min(1e-3), doubts.first.directions
    together = stack(doubts.queries)
    g = torch.cat([part.directions for part in together])
    norm = torch.cat([part.norm for part in together])
    upright = torch.cat([has_direction(part) for part in together]) & has_direction(doubts.first)
    parts = torch.split(doubts.needed, [len(part.h) for part in together])
    moved = [part.moved(needed) for part, needed in zip(together, parts, strict=True)]
    share = torch.cat(moved) / norm
    known = upright & share.isfinite()
    rho = torch.where(known, share, 0.0)
    xi = 2 * tilt(doubts.first)
    least = (g * g_1).sum(1) - xi * (1 + rho) - rho * (1 / apart + apart / 2 + GRAM_LENGTH) - 1e-12
    length = 1 + rho / apart
    w = (g - (rho / apart)[:, None] * g_1) / length[:, None]
    w = torch.where(known[:, None], w, 0.0)  # all rows pass, even of a query that is not finite
    width = doubts.first.h.shape[1]
    last = w[:, width] if constant else torch.zeros_like(rho)
    return Queries(w[:, :width], last, constant), torch.where(known, least / length, -torch.inf)
