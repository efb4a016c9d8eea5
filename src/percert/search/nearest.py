"""The nearest images to a query, how long they stay so, and which others could take their place."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from percert.certify.features import PixelFeatures
from percert.certify.turning import angle, cosine_distance
from percert.search.exact import Block, Queries, hits, make_queries
from percert.search.neighbours import Neighbours, nearest_rows
from percert.search.rivals import (
    angle_that_clears,
    flat_radius,
    least_beyond,
    rival_radii,
    stays_within,
    stored_features,
)

#: At least so many nearest images are kept: with so many, the first pass nearly always proves all.
DEPTH = 32
#: Opens the collection anew, from its first block.
Collection = Callable[[], Iterable[Block]]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stored:
    """What the collection's embeddings are: the metric's constant and float error, and the number
    of views that each image has.
    """

    constant: float = 0.0
    feature_error: float = 1e-5
    views: int = 1


#: One view, no constant.
PLAIN = Stored()


@dataclass(frozen=True)
class Item:
    """One image near a query: its place among the images, and which of its views is nearest.

    ``radius`` is how far the query may move while the image stays where it is said to be: among the
    first k, or of a candidate behind the first.
    """

    id: str
    image: int
    view: int
    distance: float
    lower: float
    upper: float
    radius: float


@dataclass(frozen=True)
class Found:
    """What is known of one query; see :class:`percert.search.results.Nearest`.

    ``passes`` is how often the collection was read.
    """

    items: tuple[Item, ...]
    radius_first: float
    radius_top_k: float
    candidates: tuple[Item, ...] | None
    passes: int


@dataclass
class _State:
    """One query between the two passes: its first k, and what is known of the rivals of the first.

    ``radii`` is the least radius of each rival image, complete up to ``end``; ``able`` are rivals,
    among them all up to there that could be the first. Rivals up to ``needed`` matter: if that is
    more, they lie within the distance ``limit``, which is ``-inf`` otherwise.
    """

    query: PixelFeatures
    near: Neighbours
    first: PixelFeatures
    items: list[Item]
    radii: dict[int, float]
    able: dict[int, Item]
    end: float
    needed: float
    limit: float


def nearest_images(
    collection: Collection,
    features: Sequence[PixelFeatures],
    k: int,
    eps: float | None = None,
    stored: Stored = PLAIN,
    *,
    device: torch.device | str = "cpu",
) -> list[Found]:
    """The ``k`` nearest images to each of ``features`` (one row each), with their radii.

    An image is as near as the nearest of its views, which are no rivals of each other. The radius
    of the first is that of :func:`percert.certify.nearest`, exact: the rows that one pass keeps
    prove in nearly all cases that no other row matters, and where they do not, a second pass looks
    at those that could. The second pass also finds candidates that lie further out. Radii of the
    first k are exact where the first pass proves them, and else a little smaller. With views,
    all this is proven for the view that is nearest now. Raises ``ValueError`` for ``k`` below 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    queries = make_queries(features, stored.constant)
    near = nearest_rows(collection(), queries, max(DEPTH, 4 * k), device=device) if features else []
    states = [
        _first_look(query, rows, k, eps, stored) for query, rows in zip(features, near, strict=True)
    ]
    again = [state.limit > -math.inf for state in states]
    if any(again):
        _look_again(collection, queries, states, eps, stored, device)
    return [_found(state, k, eps, 1 + twice) for state, twice in zip(states, again, strict=True)]


def _first_look(
    query: PixelFeatures, near: Neighbours, k: int, eps: float | None, stored: Stored
) -> _State:
    """What the nearest rows alone say, and how far those lie that it leaves in doubt."""
    rows = stored_features(near.h, stored.constant, stored.feature_error)
    if not len(near):
        return _State(query, near, rows, [], {}, {}, math.inf, 0.0, -math.inf)
    # Of each image its nearest view leads, and the least radius of its views counts.
    images, leads = np.unique(near.image, return_index=True)
    code = np.searchsorted(images, near.image)
    leading = np.sort(leads)[:k]
    radii = np.full((len(leading), len(images)), np.inf)
    every = rival_radii(query, rows_of(rows, leading), rows).numpy()
    for rank in range(len(leading)):
        np.minimum.at(radii[rank], code, every[rank])
    ends = _ends(query, near, rows, leading)
    stays = []
    for rank, row in enumerate(leading):
        behind, allowed = radii[rank][leads > row], k - rank - 1
        least = np.partition(behind, allowed)[allowed] if len(behind) > allowed else np.inf
        stays.append(min(float(least), ends[rank]))
    items = _items(query, near, rows, leading, stays, eps or 0.0, stored)
    rival = leads != 0
    known = dict(zip(images[rival].tolist(), radii[0][rival].tolist(), strict=True))
    needed = max(min(known.values(), default=0.0), eps or 0.0)
    limit, able = -math.inf, {}
    if not near.complete and needed >= ends[0]:
        limit = _distance_of(angle_that_clears(query, rows_of(rows, leading[:1]), needed))
        limit = max(limit, 0.5) if near.flat else limit
    elif eps is not None:
        close = rival & (radii[0] <= eps)
        could = _items(query, near, rows, leads[close], radii[0][close].tolist(), eps, stored)
        able = {item.image: item for item in could}
    first = rows_of(rows, leading[:1])
    return _State(query, near, first, items, known, able, ends[0], needed, limit)


def _distance_of(theta: float) -> float:
    """The distance at an angle, not too small; that of all there is for an infinite one."""
    if theta >= math.pi:
        return 2.0
    return float(cosine_distance(torch.tensor(theta, dtype=torch.float64))) + 1e-12


def _items(
    query: PixelFeatures,
    near: Neighbours,
    rows: PixelFeatures,
    leads: Places,
    radii: list[float],
    eps: float,
    stored: Stored,
) -> list[Item]:
    """The rows at ``leads`` with their intervals, and the radii given."""
    if not len(leads):
        return []
    bounds = [one.tolist() for one in stays_within(query, rows_of(rows, leads), eps)]
    view_of = (near.place[leads] % stored.views).tolist()
    return [
        Item(near.ids[row], int(near.image[row]), view, d, low, up, r)
        for row, view, r, d, low, up in zip(leads.tolist(), view_of, radii, *bounds, strict=True)
    ]


def _ends(
    query: PixelFeatures, near: Neighbours, rows: PixelFeatures, leading: Places
) -> list[float]:
    """A radius that no row beyond the nearest can be below, for each of the leading ones."""
    if near.complete:
        return [math.inf] * len(leading)
    last = float(angle(query.directions, rows_of(rows, np.array([len(near) - 1])).directions))
    these = rows_of(rows, leading)
    ends = least_beyond(query, these, last)
    if near.flat:
        ends = torch.minimum(ends, flat_radius(query, these))
    return [float(end) for end in ends]


def _look_again(
    collection: Collection,
    queries: Queries,
    states: Sequence[_State],
    eps: float | None,
    stored: Stored,
    device: torch.device | str,
) -> None:
    """Add the rivals anywhere in the collection whose radius may be as small as is needed."""
    limit = torch.tensor([state.limit for state in states], dtype=torch.float64)
    for found in hits(collection(), queries, limit, device=device):
        for at in torch.unique(found.query).tolist():
            state, mine = states[at], found.of(at)
            rows = stored_features(mine.h, stored.constant, stored.feature_error)
            radii = rival_radii(state.query, state.first, rows)[0]
            bounds = [one.tolist() for one in stays_within(state.query, rows, eps or 0.0)]
            for name, place, radius, d, low, up in zip(
                mine.ids, mine.place.tolist(), radii.tolist(), *bounds, strict=True
            ):
                image, view = divmod(place, stored.views)
                if image == state.near.image[0]:
                    continue
                state.radii[image] = min(radius, state.radii.get(image, math.inf))
                if eps is not None:
                    new = Item(name, image, view, d, low, up, radius)
                    state.able[image] = _nearer(state.able.get(image), new)


def _nearer(old: Item | None, new: Item) -> Item:
    """Of two views of an image the nearer one, with the least radius of both."""
    if old is None:
        return new
    nearer = new if new.distance < old.distance else old
    return replace(nearer, radius=min(old.radius, new.radius))


def _found(state: _State, k: int, eps: float | None, passes: int) -> Found:
    # Beyond this, rivals that only another pass would find may be missing.
    known = state.end if passes == 1 else max(state.end, state.needed)
    ranked = sorted(state.radii.values())
    top_k = min(ranked[k - 1] if len(ranked) >= k else math.inf, known)
    items = state.items
    if items:
        items = [replace(items[0], radius=top_k), *items[1:]]
    candidates = None
    if eps is not None:
        able = [rival for rival in state.able.values() if rival.radius <= eps]
        able.sort(key=lambda rival: (rival.distance, rival.image))
        candidates = (*items[:1], *able)
    first = ranked[0] if ranked else math.inf
    return Found(tuple(items), first, top_k, candidates, passes)


def rows_of(features: PixelFeatures, rows: Places) -> PixelFeatures:
    """The features of some rows."""
    index = torch.from_numpy(rows)
    return replace(features, h=features.h[index], error=features.error[index])
