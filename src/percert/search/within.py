"""All stored images that are, or could be, copies of a query: complete by proof."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.copies import copies_of_features
from percert.certify.features import PixelFeatures
from percert.certify.turning import cosine_distance, threshold_angle, turn
from percert.check import check_budget
from percert.search.exact import make_queries
from percert.search.hits import hits
from percert.search.nearest import Collection, Item
from percert.search.rivals import has_direction, stays_within, stored_features, tilt
from percert.search.stored import PLAIN, Stored
from percert.tensors import Vector


@dataclass(frozen=True)
class Copy:
    """A stored image, its verdict now, and whether that is a copy for every move of eps."""

    item: Item
    copy: bool
    certain: bool


def copies_within(
    collection: Collection,
    features: Sequence[PixelFeatures],
    threshold: float,
    eps: float = 0.0,
    stored: Stored = PLAIN,
    *,
    device: torch.device | str = "cpu",
) -> list[list[Copy]]:
    """Of each query every image that could be within ``threshold`` after a move of ``eps``.

    Nearest first. A query that moves by eps turns by at most phi(eps), so no row whose angle is
    larger than that of the threshold by more can come within it; all rows up to there are looked
    at (:func:`percert.search.hits.hits` misses none). An image is a copy if any of its views is:
    it stays one within the largest of their radii, and a non-copy within the smallest. Raises
    ``ValueError`` for a threshold outside [0, 2] and for a negative eps.
    """
    check_threshold(threshold)
    eps = check_budget(eps)
    queries = make_queries(features, stored.constant)
    limit = torch.tensor(
        [_farthest(query, threshold, eps, stored) for query in features], dtype=torch.float64
    )
    found: list[dict[int, Copy]] = [{} for _ in features]
    for rows in hits(collection(), queries, limit, device=device) if features else ():
        for at in torch.unique(rows.query).tolist():
            mine = rows.of(at)
            of_rows = stored_features(mine.h, stored.constant, stored.feature_error, stored.content)
            copy, radius = verdicts(features[at], of_rows, threshold)
            bounds = [one.tolist() for one in stays_within(features[at], of_rows, eps)]
            for name, place, is_copy, r, d, low, up in zip(
                mine.ids, mine.place.tolist(), copy.tolist(), radius.tolist(), *bounds, strict=True
            ):
                if low > threshold:
                    continue
                image, view = divmod(place, stored.views)
                new = Copy(Item(name, image, view, d, low, up, r), is_copy, is_copy and r > eps)
                found[at][image] = _either(found[at].get(image), new)
    return [
        sorted(of_one.values(), key=lambda one: (one.item.distance, one.item.image))
        for of_one in found
    ]


def verdicts(query: PixelFeatures, rows: PixelFeatures, threshold: float) -> tuple[Tensor, Vector]:
    """Whether each stored row is within the threshold of the query, and the query's radius."""
    certificate = copies_of_features(query, rows, threshold, perturbed="reference")
    upright = has_direction(rows)
    if not bool(has_direction(query)):
        # Without a direction it is at 1/2 from what has one, and at 0 from what has none.
        now = torch.where(upright, 0.5, 0.0)
        return now <= threshold, torch.zeros_like(certificate.radius)
    # What has no direction stays at 1/2 for as long as the query has one; on the edge, float
    # rounding decides.
    until = query.budget(query.norm_h) * (abs(threshold - 0.5) > 1e-12)
    return (
        torch.where(upright, certificate.decision, threshold >= 0.5),
        torch.where(upright, certificate.radius, until),
    )


def check_threshold(threshold: float) -> float:
    """Return ``threshold`` if it is a cosine distance."""
    if not 0 <= threshold <= 2:
        raise ValueError(f"threshold: expected a cosine distance in [0, 2], found {threshold}")
    return float(threshold)


def _farthest(query: PixelFeatures, threshold: float, eps: float, stored: Stored) -> float:
    """The largest distance now from which a row could come within the threshold."""
    if not bool(has_direction(query)):
        return 2.0
    rows = stored_features(query.h[:1] * 0 + 1, stored.constant, stored.feature_error)
    turned = float(turn(query, query.moved(eps))) + 2 * tilt(rows) + 2 * query.rounding
    theta = threshold_angle(threshold) + turned
    if theta >= math.pi:
        return 2.0
    return float(cosine_distance(torch.tensor(theta, dtype=torch.float64))) + 1e-12


def _either(old: Copy | None, new: Copy) -> Copy:
    """Two views of an image as one: the nearer, a copy if either is, with the radius of that."""
    if old is None:
        return new
    nearer, other = (old, new) if old.item.distance <= new.item.distance else (new, old)
    if old.copy == new.copy:
        radii = old.item.radius, new.item.radius
        radius = max(radii) if old.copy else min(radii)
    else:
        radius = (old if old.copy else new).item.radius
    item = Item(
        nearer.item.id,
        nearer.item.image,
        nearer.item.view,
        nearer.item.distance,
        min(nearer.item.lower, other.item.lower),
        min(nearer.item.upper, other.item.upper),
        radius,
    )
    return Copy(item, old.copy or new.copy, old.certain or new.certain)
