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
DEPTH = 64
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
    """What is known of one query; see :class:`percert.search.results.Nearest`."""

    items: tuple[Item, ...]
    radius_first: float
    radius_top_k: float
    candidates: tuple[Item, ...] | None
    passes: int


@dataclass
class _State:
    """One query between the two passes: the best rows, and each rival image's least radius.

    ``needed`` is the radius up to which rivals matter; some may lie as far as ``limit``.
    """

    query: PixelFeatures
    near: Neighbours
    rows: PixelFeatures
    items: list[Item]
    rivals: dict[int, Item]
    needed: float
    limit: float


def nearest_images(
    collection: Collection,
    features: Sequence[PixelFeatures],
    k: int,
    eps: float | None = None,
    stored: Stored = Stored(),  # noqa: B008  # frozen
    *,
    device: torch.device | str = "cpu",
) -> list[Found]:
    """The ``k`` nearest images to each of ``features`` (one row each), with their radii.

    An image is as near as the nearest of its views, which are no rivals of each other. The radii
    are those of :func:`percert.certify.nearest`, exact: the rows that one pass keeps prove in
    nearly all cases that no other row matters, and where they do not, a second pass looks at those
    that could. With views, the first place is proven for the view that is nearest now. Raises
    ``ValueError`` for ``k`` below 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    queries = make_queries(features, stored.constant)
    near = (
        nearest_rows(collection(), queries, max(DEPTH, 4 * k), device=device) if features else []
    )
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
        return _State(query, near, rows, [], {}, 0.0, -math.inf)
    # Of each image its nearest view leads, and the least radius of its views counts.
    images, leads = np.unique(near.image, return_index=True)
    code = np.searchsorted(images, near.image)
    leading = np.sort(leads)[:k]
    radii = np.full((len(leading), len(images)), np.inf)
    every = rival_radii(query, rows_of(rows, leading), rows).numpy()
    for rank in range(len(leading)):
        np.minimum.at(radii[rank], code, every[rank])
    bounds = [one.tolist() for one in stays_within(query, rows_of(rows, leads), eps or 0.0)]
    found = [
        Item(near.ids[row], int(images[at]), int(near.place[row]) % stored.views, *interval, radius)
        for at, (row, radius, *interval) in enumerate(
            zip(leads.tolist(), radii[0].tolist(), *bounds, strict=True)
        )
    ]
    ends = _ends(query, near, rows, leading)
    items = []
    for rank, row in enumerate(leading):
        behind, allowed = radii[rank][leads > row], k - rank - 1
        stays = np.partition(behind, allowed)[allowed] if len(behind) > allowed else math.inf
        items.append(replace(found[code[row]], radius=min(float(stays), ends[rank])))
    rivals = {item.image: item for item in found if item.image != near.image[0]}
    needed = max(_smallest(rivals, k), eps or 0.0)
    limit = -math.inf
    if not near.complete and needed >= ends[0]:
        theta = angle_that_clears(query, rows_of(rows, leading[:1]), needed)
        limit = 2.0
        if theta < math.pi:
            limit = float(cosine_distance(torch.tensor(theta, dtype=torch.float64))) + 1e-12
        if near.flat:
            limit = max(limit, 0.5)
    return _State(query, near, rows, items, rivals, needed, limit)


def _ends(
    query: PixelFeatures, near: Neighbours, rows: PixelFeatures, leading: Places
) -> list[float]:
    """A radius that no row beyond the nearest can be below, for each of the leading ones."""
    if near.complete:
        return [math.inf] * len(leading)
    last = float(angle(query.directions, rows.directions[-1:]))
    ends = []
    for row in leading:
        one = rows_of(rows, np.array([row]))
        end = least_beyond(query, one, last)
        ends.append(min(end, flat_radius(query, one)) if near.flat else end)
    return ends


def _look_again(
    collection: Collection,
    queries: Queries,
    states: Sequence[_State],
    eps: float | None,
    stored: Stored,
    device: torch.device | str,
) -> None:
    """Add the rivals anywhere in the collection whose radius is at most what is needed."""
    limit = torch.tensor([state.limit for state in states], dtype=torch.float64)
    for found in hits(collection(), queries, limit, device=device):
        for at in found.query.unique().tolist():
            state, mine = states[at], found.of(at)
            rows = stored_features(mine.h, stored.constant, stored.feature_error)
            radii = rival_radii(state.query, rows_of(state.rows, np.array([0])), rows)[0]
            bounds = [one.tolist() for one in stays_within(state.query, rows, eps or 0.0)]
            first = state.near.image[0]
            for name, place, radius, *interval in zip(
                mine.ids, mine.place.tolist(), radii.tolist(), *bounds, strict=True
            ):
                image, view = divmod(place, stored.views)
                if radius <= state.needed and image != first:
                    new = Item(name, image, view, *interval, radius)
                    state.rivals[image] = _nearer(state.rivals.get(image), new)


def _nearer(old: Item | None, new: Item) -> Item:
    """Of two views of an image the nearer one, with the least radius of both."""
    if old is None:
        return new
    nearer = new if new.distance < old.distance else old
    return replace(nearer, radius=min(old.radius, new.radius))


def _smallest(rivals: dict[int, Item], k: int) -> float:
    """The ``k``-th smallest radius of rivals, infinite where there are fewer."""
    ranked = sorted(rival.radius for rival in rivals.values())
    return ranked[k - 1] if len(ranked) >= k else math.inf


def _found(state: _State, k: int, eps: float | None, passes: int) -> Found:
    top_k = _smallest(state.rivals, k)
    items = state.items
    if items:
        items = [replace(items[0], radius=top_k), *items[1:]]
    candidates = None
    if eps is not None:
        able = [rival for rival in state.rivals.values() if rival.radius <= eps]
        able.sort(key=lambda rival: (rival.distance, rival.image))
        candidates = (*items[:1], *able)
    return Found(tuple(items), _smallest(state.rivals, 1), top_k, candidates, passes)


def rows_of(features: PixelFeatures, rows: Places) -> PixelFeatures:
    """The features of some rows."""
    index = torch.from_numpy(rows)
    return replace(features, h=features.h[index], error=features.error[index])
