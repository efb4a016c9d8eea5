"""The nearest images to a query, how long they stay so, and which others could take their place.

The nearest rows alone prove nearly all of that. They leave in doubt queries that have a copy in the
collection: its first image stays the first for a long way, and by its angle alone a large part of
the collection could overtake it within that. Whether a row does depends on its product with the
first as well. So a second pass takes one product of each row with a vector between the query and
the first, which bounds both products, and few rows pass it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.pairs import distance_of_features
from percert.check import check_budget
from percert.search.query.distances import (
    PLAIN_SPEC,
    EmbeddingSpec,
    Queries,
    image_ids,
    make_queries,
    stack,
)
from percert.search.query.overtaking import (
    LeaderRadii,
    has_direction,
    leader_radii,
    pair_radii,
    rival_radii,
    stays_within,
    stored_features,
    tilt,
)
from percert.search.query.prefilter import Prefilter
from percert.search.query.top_k import Places, TopRows, nearest_rows
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


#: At least so many nearest images are kept: with so many, the first pass nearly always proves all.
DEPTH = 32
#: Opens the collection anew, from its first block.
Collection = Callable[[], Iterable[Block]]


@dataclass(frozen=True)
class Neighbour:
    """One image near a query: its place among the images of the collection, the view of it that is
    nearest, and the distance, between ``lower`` and ``upper`` while the query moves by eps.

    ``radius`` is how far the query may move while the image stays among the first k; of a
    candidate, while it stays behind the first; of a copy, while the verdict stays.
    """

    id: str
    image: int
    view: int
    distance: float
    lower: float
    upper: float
    radius: float


@dataclass(frozen=True)
class NearestImages:
    """What is known of one query; see :class:`percert.search.query.results.Nearest`.

    ``passes`` is how often the collection was read.
    """

    items: tuple[Neighbour, ...]
    radius_first: float
    radius_top_k: float
    candidates: tuple[Neighbour, ...] | None
    passes: int


def nearest_images(
    collection: Collection,
    features: Sequence[PixelFeatures],
    k: int,
    eps: float | None = None,
    stored: EmbeddingSpec = PLAIN_SPEC,
    *,
    device: torch.device | str = "cpu",
) -> list[NearestImages]:
    """The ``k`` nearest images to each of ``features`` (one row each), with their radii.

    An image is as near as the nearest of its views, which are no rivals of each other. The radius
    of the first is that of :func:`percert.certify.nearest`, exact: the rows that one pass keeps
    prove in nearly all cases that no other row matters, and where they do not, a second pass looks
    at those that could. The second pass also finds candidates that lie further out. Radii of the
    first k are exact where the first pass proves them, and else a little smaller. With views,
    all this is proven for the view that is nearest now. Raises ``ValueError`` for ``k`` below 1
    and an eps that is no length.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    eps = None if eps is None else check_budget(eps)
    if not features:
        return []
    queries = make_queries(features, stored.constant)
    near = nearest_rows(collection(), queries, max(DEPTH, 4 * k), device=device)
    if not near.place.size:
        return [
            NearestImages((), math.inf, math.inf, None if eps is None else (), 1) for _ in features
        ]
    look = leader_radii(features, near, k, eps or 0.0, stored)
    found = _found(near, look, eps, stored)
    # Rivals up to here matter; where some of them may not be near, all rows are looked at.
    rivals = look.rivals.amin(1) if near.leads.shape[1] > 1 else torch.zeros(len(near))
    needed = rivals.double().clamp_min(eps or 0.0)
    undecided = (needed >= look.ends) & ~torch.from_numpy(near.complete)
    places = undecided.nonzero()[:, 0]
    if len(places):
        again = _open_queries(features, near, look, places, needed, stored)
        rows = rivals_within(collection(), again, stored.constant, device=device)
        known = [_RivalsOf.of(near, look, place) for place in places.tolist()]
        _add_rivals(rows, again, known, eps, stored)
        for place, one, enough in zip(places.tolist(), known, needed[places].tolist(), strict=True):
            end = max(float(look.ends[place]), enough)
            found[place] = one.found(found[place], k, eps, end)
    return found


def _found(
    near: TopRows, look: LeaderRadii, eps: float | None, stored: EmbeddingSpec
) -> list[NearestImages]:
    """What the nearest rows say of each query."""
    count, lead = look.stays.shape
    each = np.arange(count)
    leading = near.leads[:, :lead]
    items = _items(near, look, each.repeat(lead), leading.ravel(), look.stays.flatten().tolist())
    candidates: list[tuple[Neighbour, ...] | None] = [None] * count
    if eps is not None:
        query, rank = (look.rivals <= eps).nonzero().T.numpy()
        radii = look.rivals[query, rank].tolist()
        able = _items(near, look, query, near.leads[query, rank], radii)
        start = np.searchsorted(query, np.arange(count + 1)).tolist()
        candidates = [
            (*items[at * lead : at * lead + 1], *able[start[at] : start[at + 1]]) for at in each
        ]
    first = look.rivals.amin(1).tolist()
    return [
        NearestImages(
            tuple(items[at * lead : (at + 1) * lead]),
            first[at],
            items[at * lead].radius,
            candidates[at],
            1,
        )
        for at in range(count)
    ]


def _items(
    near: TopRows, look: LeaderRadii, query: Places, row: Places, radii: Sequence[float]
) -> list[Neighbour]:
    """The rows at ``row`` near the queries at ``query``, with the radii given."""
    columns = (
        near.ids[query, row].tolist(),
        near.image[query, row].tolist(),
        (near.place[query, row] % near.views).tolist(),
        near.distance[query, row].tolist(),
        look.lower[query, row].tolist(),
        look.upper[query, row].tolist(),
        radii,
    )
    return [Neighbour(*values) for values in zip(*columns, strict=True)]


@dataclass
class _RivalsOf:
    """The rivals of an open query, by their place among the images: the least radius of each, and
    those that could be first after a move of eps. The second pass makes them complete.
    """

    first: int
    radii: dict[int, float]
    candidates: dict[int, Neighbour] = field(default_factory=dict)

    @classmethod
    def of(cls, near: TopRows, look: LeaderRadii, at: int) -> "_RivalsOf":
        images = near.image[at][near.leads[at]].tolist()
        return cls(images[0], dict(zip(images[1:], look.rivals[at, 1:].tolist(), strict=True)))

    def found(self, before: NearestImages, k: int, eps: float | None, end: float) -> NearestImages:
        """``before``, corrected by the rivals with a radius of up to ``end``."""
        ranked = sorted(self.radii.values())
        top_k = min(ranked[k - 1] if len(ranked) >= k else math.inf, end)
        first, *others = before.items
        leader = replace(first, radius=top_k)
        candidates = None
        if eps is not None:
            able = [rival for rival in self.candidates.values() if rival.radius <= eps]
            able.sort(key=lambda rival: (rival.distance, rival.image))
            candidates = (leader, *able)
        least = ranked[0] if ranked else math.inf
        return NearestImages((leader, *others), least, top_k, candidates, 2)


def _open_queries(
    features: Sequence[PixelFeatures],
    near: TopRows,
    look: LeaderRadii,
    places: Tensor,
    needed: Tensor,
    stored: EmbeddingSpec,
) -> OpenQueries:
    """The queries at ``places``, each with its first image and its strongest rival near it."""
    rival = torch.from_numpy(near.leads)[places, look.rivals[places].argmin(1)]
    first, second = (
        stored_features(h, stored.constant, stored.feature_error)
        for h in (near.h[places, 0], near.h[places, rival])
    )
    apart: Tensor = (first.directions - second.directions).norm(dim=1)
    return OpenQueries([features[at] for at in places.tolist()], first, needed[places], apart)


def _add_rivals(
    found: Iterable[RivalRows],
    open_queries: OpenQueries,
    known: Sequence[_RivalsOf],
    eps: float | None,
    stored: EmbeddingSpec,
) -> None:
    """Add the rivals found to those known of each open query."""
    for rows in found:
        rivals = stored_features(rows.h, stored.constant, stored.feature_error)
        for at, name, place, radius, d, low, up in zip(
            rows.query.tolist(),
            rows.ids,
            rows.place.tolist(),
            *_of_pairs(open_queries, rows.query, rivals, eps or 0.0).tolist(),
            strict=True,
        ):
            of, (image, view) = known[at], divmod(place, stored.views)
            if image == of.first:
                continue
            of.radii[image] = min(radius, of.radii.get(image, math.inf))
            if eps is not None:
                new = Neighbour(name, image, view, d, low, up, radius)
                of.candidates[image] = _nearer(of.candidates.get(image), new)


def _of_pairs(
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


def _nearer(old: Neighbour | None, new: Neighbour) -> Neighbour:
    """Of two views of an image the nearer one, with the least radius of both."""
    if old is None:
        return new
    nearer = new if new.distance < old.distance else old
    return replace(nearer, radius=min(old.radius, new.radius))
