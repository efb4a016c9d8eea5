"""Exact k nearest neighbours with certified radii, and the images that could become the first.

One pass over the collection keeps the nearest rows, which prove nearly all radii. The queries that
it leaves open, mostly those with a copy in the collection, are decided by a second pass, the
re-rank (:mod:`percert.search.query.second_pass`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.check import check_budget
from percert.search.query.distances import PLAIN_SPEC, EmbeddingSpec, Queries, make_queries
from percert.search.query.overtaking import (
    LeaderRadii,
    leader_radii,
    stored_features,
)
from percert.search.query.second_pass import (
    OpenQueries,
    RivalRows,
    rival_distances,
    rivals_within,
)
from percert.search.query.top_k import Numbers, Places, TopRows, nearest_rows
from percert.search.tables.scan import Block

#: At least so many nearest images are kept: with so many, the first pass nearly always proves all.
DEPTH = 32
#: Opens the collection anew, from its first block.
Collection = Callable[[], Iterable[Block]]


@dataclass(frozen=True)
class Neighbour:
    """One image near a query, by the stored view of it that is nearest.

    ``image`` is its place in the collection, ``view`` the index of that view; ``distance`` stays
    within ``lower`` and ``upper`` while the query moves by eps. ``radius`` is how far the query may
    move: of the first k, while the image stays among them; of a candidate, while it stays behind
    the first; of a copy, while the verdict stays.
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
    """The result for one query, without paths; see :class:`percert.search.query.results.Nearest`.

    ``passes`` is how often the collection was read.
    """

    items: tuple[Neighbour, ...]
    radius_first: float
    radius_top_k: float
    candidates: tuple[Neighbour, ...] | None
    passes: int


@dataclass(frozen=True)
class Passes:
    """The two passes over a collection, as callbacks, so that they may run anywhere.

    ``nearest`` is :func:`~percert.search.query.top_k.nearest_rows` of queries and a depth, and
    ``rivals`` :func:`~percert.search.query.second_pass.rivals_within` of open queries.
    """

    nearest: Callable[[Queries, int], TopRows]
    rivals: Callable[[OpenQueries], Iterable[RivalRows]]


def nearest_images(
    collection: Collection,
    features: Sequence[PixelFeatures],
    k: int,
    eps: float | None = None,
    stored: EmbeddingSpec = PLAIN_SPEC,
    *,
    device: torch.device | str = "cpu",
) -> list[NearestImages]:
    """The ``k`` nearest images to each of ``features`` (one row each), with certified radii.

    The distance of an image is that of its nearest view; its views do not compete with each other.
    The radius of the first place is exact, that of :func:`percert.certify.nearest`: the rows kept
    by the first pass nearly always prove that no other row matters, and where they do not, the
    second pass looks at all that could. The radii of the other places are exact where the first
    pass proves them, and else a little smaller. With several views, a radius holds for the view
    that is nearest now. With ``eps``, the candidates are found: all images that could be first
    after a move of ``eps``. Raises ``ValueError`` for ``k`` below 1 and for an eps that is no
    length.
    """
    passes = Passes(
        lambda queries, depth: nearest_rows(collection(), queries, depth, device=device),
        lambda some: rivals_within(collection(), some, stored.constant, device=device),
    )
    return nearest_by(passes, features, k, eps, stored)


def nearest_by(
    passes: Passes,
    features: Sequence[PixelFeatures],
    k: int,
    eps: float | None = None,
    stored: EmbeddingSpec = PLAIN_SPEC,
) -> list[NearestImages]:
    """:func:`nearest_images` by callbacks for its two passes, wherever the collection lies."""
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    eps = None if eps is None else check_budget(eps)
    if not features:
        return []
    queries = make_queries(features, stored.constant)
    near = passes.nearest(queries, max(DEPTH, 4 * k))
    if not near.place.size:
        return [
            NearestImages((), math.inf, math.inf, None if eps is None else (), 1) for _ in features
        ]
    look = leader_radii(features, near, k, eps or 0.0, stored)
    found = _found(near, look, eps, stored)
    # Rivals up to here matter; where some of them may not be near, all rows are looked at.
    rivals = look.rivals.min(1) if near.leads.shape[1] > 1 else np.zeros(len(near))
    needed = np.maximum(rivals, eps or 0.0)
    places = ((needed >= look.ends) & ~near.complete).nonzero()[0]
    if len(places):
        again = _open_queries(features, near, look, places, needed, stored)
        rows = passes.rivals(again)
        known = [_RivalsOf.of(near, look, place) for place in places.tolist()]
        _add_rivals(rows, again, known, eps, stored)
        for place, one, enough in zip(places.tolist(), known, needed[places].tolist(), strict=True):
            end = max(float(look.ends[place]), enough)
            found[place] = one.found(found[place], k, eps, end)
    return found


def _found(
    near: TopRows, look: LeaderRadii, eps: float | None, stored: EmbeddingSpec
) -> list[NearestImages]:
    """The results that the rows kept by the first pass prove, one a query."""
    count, lead = look.stays.shape
    each = np.arange(count)
    leading = near.leads[:, :lead]
    items = _items(near, look, each.repeat(lead), leading.ravel(), look.stays.ravel().tolist())
    candidates: list[tuple[Neighbour, ...] | None] = [None] * count
    if eps is not None:
        query, rank = (look.rivals <= eps).nonzero()
        radii = look.rivals[query, rank].tolist()
        able = _items(near, look, query, near.leads[query, rank], radii)
        start = np.searchsorted(query, np.arange(count + 1)).tolist()
        candidates = [
            (*items[at * lead : at * lead + 1], *able[start[at] : start[at + 1]]) for at in each
        ]
    first = look.rivals.min(1).tolist()
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
    """The rows at ``row`` as neighbours of the queries at ``query``, with these radii."""
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
    """The rivals of one open query, by their place among the images, completed by the second pass.

    ``radii`` are the smallest radius of each, ``candidates`` those that could be first after a move
    of eps.
    """

    first: int
    radii: dict[int, float]
    candidates: dict[int, Neighbour] = field(default_factory=dict)

    @classmethod
    def of(cls, near: TopRows, look: LeaderRadii, at: int) -> "_RivalsOf":
        images = near.image[at][near.leads[at]].tolist()
        return cls(images[0], dict(zip(images[1:], look.rivals[at, 1:].tolist(), strict=True)))

    def found(self, before: NearestImages, k: int, eps: float | None, end: float) -> NearestImages:
        """The result ``before`` the second pass, corrected by rivals with radii up to ``end``."""
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
    places: Places,
    needed: Numbers,
    stored: EmbeddingSpec,
) -> OpenQueries:
    """The queries at ``places``, each with its first image and its strongest rival near it."""
    rival = near.leads[places, look.rivals[places].argmin(1)]
    first, second = (
        stored_features(h, stored.constant, stored.feature_error)
        for h in (near.h[places, 0], near.h[places, rival])
    )
    apart: Tensor = (first.directions - second.directions).norm(dim=1)
    enough = torch.from_numpy(needed[places])
    return OpenQueries([features[at] for at in places.tolist()], first, enough, apart)


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
            *rival_distances(open_queries, rows.query, rivals, eps or 0.0).tolist(),
            strict=True,
        ):
            of, (image, view) = known[at], divmod(place, stored.views)
            if image == of.first:
                continue
            of.radii[image] = min(radius, of.radii.get(image, math.inf))
            if eps is not None:
                new = Neighbour(name, image, view, d, low, up, radius)
                of.candidates[image] = _nearer(of.candidates.get(image), new)


def _nearer(old: Neighbour | None, new: Neighbour) -> Neighbour:
    """Of two views of an image the nearer one, with the least radius of both."""
    if old is None:
        return new
    nearer = new if new.distance < old.distance else old
    return replace(nearer, radius=min(old.radius, new.radius))
