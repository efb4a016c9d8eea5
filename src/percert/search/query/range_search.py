"""Range search by per-image thresholds, complete by proof: every possible copy of a query."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from percert.certify.angles import turn
from percert.certify.features import PixelFeatures
from percert.certify.own_threshold import OwnThreshold
from percert.certify.pairs import FeaturePairs
from percert.check import check_budget
from percert.search.query.distances import (
    PLAIN_SPEC,
    EmbeddingSpec,
    make_queries,
)
from percert.search.query.levels import own_levels
from percert.search.query.nearest import Collection, Neighbour
from percert.search.query.overtaking import (
    stays_within,
    stored_features,
    stored_tilt,
)
from percert.search.query.within import NearRows, rows_within
from percert.tensors import Vector


@dataclass(frozen=True)
class CopyVerdict:
    """What a range search says of one stored image.

    ``item`` names it and the view that decides, ``threshold`` is that view's own, ``copy`` the
    verdict now, and ``certain`` whether it is a copy after every move of eps.
    """

    item: Neighbour
    threshold: float
    copy: bool
    certain: bool


def copies_within(
    collection: Collection,
    asked: Mapping[str, Sequence[PixelFeatures]],
    rule: OwnThreshold,
    eps: float = 0.0,
    stored: EmbeddingSpec = PLAIN_SPEC,
    *,
    device: torch.device | str = "cpu",
) -> list[list[CopyVerdict]]:
    """Every image that could be within its own threshold after the query moves by ``eps``.

    ``asked`` has the embeddings of each query in each of its views. Results come furthest within
    their threshold first. A query that moves by eps turns by at most phi(eps), so only rows whose
    angle exceeds that of their threshold by no more can come within it; all of these are looked at
    (:func:`~percert.search.query.within.rows_within` misses none). An image is a copy if any pair
    of views says so: it stays one within the largest of their radii, and a non-copy within the
    smallest. Raises ``ValueError`` for a negative eps.
    """
    eps = check_budget(eps)
    features = {name: asked[name] for name in stored.by_asked}
    queries = {name: make_queries(some, stored.constant) for name, some in features.items()}
    turns = {
        name: torch.tensor([_turn(one, eps, stored) for one in some], dtype=torch.float64)
        for name, some in features.items()
    }
    count = len(next(iter(features.values())))
    found: list[dict[int, CopyVerdict]] = [{} for _ in range(count)]
    start = 0
    for whole in collection() if count else ():
        for name, places in stored.by_asked.items():
            # A single view is looked at alone; of several, the others are passed over.
            alone = len(places) == 1
            block = whole.of_view(places[0]) if alone else whole
            levels = own_levels(block, rule, None if alone else places)
            views = places if alone else tuple(range(block.views))
            for rows in rows_within(block, levels, queries[name], turns[name], device=device):
                for at, mine in rows.by_query():
                    query, limits, of_one = features[name][at], levels.thresholds, found[at]
                    for new in _verdicts(query, mine, limits, eps, stored, start, views):
                        of_one[new.item.image] = _either(of_one.get(new.item.image), new)
        start += len(whole.ids)
    return [in_order(of_one.values()) for of_one in found]


def in_order(found: Iterable[CopyVerdict]) -> list[CopyVerdict]:
    """Verdicts sorted: furthest within the threshold first."""
    return sorted(found, key=_order)


def _verdicts(
    query: PixelFeatures,
    rows: NearRows,
    limits: Vector,
    eps: float,
    stored: EmbeddingSpec,
    start: int,
    views: Sequence[int],
) -> Iterator[CopyVerdict]:
    """The verdict on each row near one query, but for rows that eps cannot make a copy.

    ``limits`` are the thresholds of the block's rows, ``start`` is the place of its first image,
    and ``views`` are those that an image has rows of.
    """
    of_rows = stored_features(rows.h, stored.constant, stored.feature_error, stored.content)
    pairs = FeaturePairs(query, of_rows)
    own = limits[rows.place]
    columns = (own, *verdicts(pairs, own), *stays_within(pairs, eps))
    for name, place, limit, copy, radius, distance, lower, upper in zip(
        rows.ids, rows.place.tolist(), *(column.tolist() for column in columns), strict=True
    ):
        if lower <= limit:
            image, view = start + place // len(views), views[place % len(views)]
            item = Neighbour(name, image, view, distance, lower, upper, radius)
            yield CopyVerdict(item, limit, copy, copy and radius > eps)


def _order(one: CopyVerdict) -> tuple[float, float, int]:
    return one.item.distance - one.threshold, one.item.distance, one.item.image


def verdicts(pairs: FeaturePairs, threshold: Vector) -> tuple[Tensor, Vector]:
    """Whether each stored row is a copy of its query, and within which radius that stands."""
    query, upright = pairs.reference, pairs.candidate.upright
    if not bool(query.upright):
        # Without a direction it is at 1/2 from what has one, and at 0 from what has none.
        now = torch.where(upright, 0.5, 0.0)
        return now <= threshold, torch.zeros_like(threshold)
    decision, radius = pairs.verdicts(threshold, "reference")
    if bool(upright.all()):
        return decision, radius
    # What has no direction stays at 1/2 for as long as the query has one; on the edge, float
    # rounding decides.
    until = query.budget(query.norm_h) * ((threshold - 0.5).abs() > 1e-12)
    decision = torch.where(upright, decision, threshold >= 0.5)
    return decision, torch.where(upright, radius, until)


def _turn(query: PixelFeatures, eps: float, stored: EmbeddingSpec) -> float:
    """The largest angle by which a query turns, rounding of stored rows included."""
    if not bool(query.upright):
        return math.pi
    rounded = 2 * stored_tilt(query.h.shape[1], stored) + 2 * query.rounding
    return min(float(turn(query, query.moved(eps))) + rounded, math.pi)


def _either(old: CopyVerdict | None, new: CopyVerdict) -> CopyVerdict:
    """The verdict on an image from those by two pairs of views.

    That which is further within its threshold decides, with the largest radius of the copies, or
    the smallest where neither is one.
    """
    if old is None:
        return new
    first, other = (old, new) if _order(old) <= _order(new) else (new, old)
    radii = first.item.radius, other.item.radius
    radius = first.item.radius
    if first.copy == other.copy:
        radius = max(radii) if first.copy else min(radii)
    certain = first.certain or other.certain
    return CopyVerdict(replace(first.item, radius=radius), first.threshold, first.copy, certain)
