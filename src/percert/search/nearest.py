"""The nearest images to a query, how long they stay so, and which others could take their place."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from percert.certify.distance import distance_of_features
from percert.certify.features import PixelFeatures
from percert.check import check_budget
from percert.search.batches import stack, take
from percert.search.exact import Block, Queries, make_queries
from percert.search.look import Look, Places, look_at, pair_radii
from percert.search.neighbours import Neighbours, nearest_rows
from percert.search.rivals import (
    has_direction,
    rival_radii,
    stays_within,
    stored_features,
)
from percert.search.second_look import Doubt, part_of, rivals_within
from percert.search.stored import PLAIN, Stored

#: At least so many nearest images are kept: with so many, the first pass nearly always proves all.
DEPTH = 32
#: Opens the collection anew, from its first block.
Collection = Callable[[], Iterable[Block]]


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
    more, the query is ``doubtful``.
    """

    query: PixelFeatures
    near: Neighbours
    first: PixelFeatures | None
    items: list[Item]
    radii: dict[int, float]
    able: dict[int, Item]
    end: float
    needed: float
    doubtful: bool


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
    all this is proven for the view that is nearest now. Raises ``ValueError`` for ``k`` below 1
    and an eps that is no length.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    eps = None if eps is None else check_budget(eps)
    queries = make_queries(features, stored.constant)
    near = nearest_rows(collection(), queries, max(DEPTH, 4 * k), device=device) if features else []
    looks = look_at(features, near, k, eps or 0.0, stored) if features else []
    states = [
        _first_look(query, rows, look, k, eps, stored)
        for query, rows, look in zip(features, near, looks, strict=True)
    ]
    again = [state.doubtful for state in states]
    if any(again):
        _look_again(collection, queries, states, eps, stored, device)
    return [_found(state, k, eps, 1 + twice) for state, twice in zip(states, again, strict=True)]


def _first_look(
    query: PixelFeatures, near: Neighbours, look: Look, k: int, eps: float | None, stored: Stored
) -> _State:
    """What the nearest rows alone say, and how far those lie that it leaves in doubt."""
    if not len(near):
        return _State(query, near, None, [], {}, {}, math.inf, 0.0, False)
    # Of each image its nearest view leads, and the least radius of its views counts.
    images, leads = np.unique(near.image, return_index=True)
    code = np.searchsorted(images, near.image)
    leading, ends = look.leading, look.ends
    radii = np.full((len(leading), len(images)), np.inf)
    for rank in range(len(leading)):
        np.minimum.at(radii[rank], code, look.radii[rank])
    stays = []
    for rank, row in enumerate(leading):
        behind, allowed = radii[rank][leads > row], k - rank - 1
        least = np.partition(behind, allowed)[allowed] if len(behind) > allowed else np.inf
        stays.append(min(float(least), ends[rank]))
    items = _items(near, leading, stays, look.bounds, stored)
    rival = leads != 0
    known = dict(zip(images[rival].tolist(), radii[0][rival].tolist(), strict=True))
    needed = max(min(known.values(), default=0.0), eps or 0.0)
    first = _stored_rows(near, leading[:1], stored)
    doubtful, able = not near.complete and needed >= ends[0], {}
    if eps is not None and not doubtful:
        close = rival & (radii[0] <= eps)
        if close.any():
            bounds = stays_within(query, _stored_rows(near, leads[close], stored), eps)
            columns = bounds[0].tolist(), bounds[1].tolist(), bounds[2].tolist()
            could = _items(near, leads[close], radii[0][close].tolist(), columns, stored)
            able = {item.image: item for item in could}
    return _State(query, near, first, items, known, able, ends[0], needed, doubtful)


def _stored_rows(near: Neighbours, rows: Places, stored: Stored) -> PixelFeatures:
    return stored_features(near.h[torch.from_numpy(rows)], stored.constant, stored.feature_error)


def _items(
    near: Neighbours,
    leads: Places,
    radii: list[float],
    bounds: tuple[list[float], list[float], list[float]],
    stored: Stored,
) -> list[Item]:
    """The rows at ``leads`` with the radii and the distances, lower and upper bounds given."""
    view_of = (near.place[leads] % stored.views).tolist()
    return [
        Item(near.ids[row], int(near.image[row]), view, d, low, up, r)
        for row, view, r, d, low, up in zip(leads.tolist(), view_of, radii, *bounds, strict=True)
    ]


def _look_again(
    collection: Collection,
    queries: Queries,
    states: Sequence[_State],
    eps: float | None,
    stored: Stored,
    device: torch.device | str,
) -> None:
    """Add the rivals anywhere in the collection whose radius may be as small as is needed."""
    places = [place for place, state in enumerate(states) if state.doubtful]
    doubts = [
        Doubt(one.query, one.first, one.needed, one.near.flat)
        for one in (states[place] for place in places)
        if one.first is not None
    ]
    for found in rivals_within(collection(), part_of(queries, places), doubts, device=device):
        rivals = stored_features(found.h, stored.constant, stored.feature_error)
        radii, bounds = _of_pairs([states[p] for p in places], found.query, rivals, eps)
        for at, name, place, radius, d, low, up in zip(
            found.query.tolist(), found.ids, found.place.tolist(), radii, *bounds, strict=True
        ):
            state, (image, view) = states[places[at]], divmod(place, stored.views)
            if image == state.near.image[0]:
                continue
            state.radii[image] = min(radius, state.radii.get(image, math.inf))
            if eps is not None:
                new = Item(name, image, view, d, low, up, radius)
                state.able[image] = _nearer(state.able.get(image), new)


def _of_pairs(
    states: Sequence[_State], which: Tensor, rivals: PixelFeatures, eps: float | None
) -> tuple[list[float], tuple[list[float], list[float], list[float]]]:
    """The radius of each of ``rivals`` against the state that ``which`` names, and its bounds."""
    queries = stack([one.query for one in states])
    firsts = stack([one.first for one in states if one.first is not None])
    upright = all(bool(has_direction(one).all()) for one in (*queries, *firsts, rivals))
    if upright and len(queries) == len(firsts) == 1:
        query = take(queries[0], which)
        radii = pair_radii(query, take(firsts[0], which), rivals)
        found = distance_of_features(query, rivals, eps or 0.0, perturbed="reference")
        return radii.tolist(), (found.distance.tolist(), found.lower.tolist(), found.upper.tolist())
    columns = torch.zeros(4, len(which), dtype=torch.float64)
    for at in torch.unique(which).tolist():
        index, state = (which == at).nonzero()[:, 0], states[at]
        if state.first is None:
            continue
        mine = take(rivals, index)
        columns[0, index] = rival_radii(state.query, state.first, mine)[0]
        columns[1:, index] = torch.stack(stays_within(state.query, mine, eps or 0.0)).double()
    radius, distance, lower, upper = columns.tolist()
    return radius, (distance, lower, upper)


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
