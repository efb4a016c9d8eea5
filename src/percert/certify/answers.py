"""The whole answer for one pair or triplet, as JSON has it: distance, interval, verdict, radius."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, embed
from percert.certify.own_threshold import PerturbedStored, StoredThreshold, own_copies_of_features
from percert.certify.pairs import PerturbedPair, distance_of_features, pair_distance
from percert.certify.twoafc import PerturbedTriplet, twoafc_of_features
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.reports.budgets import ONE_LEVEL, Budget

#: Who moves, by the names of a query and what is stored: the candidate is the query.
_MOVES: dict[PerturbedPair, PerturbedStored] = {
    "candidate": "query",
    "reference": "stored",
    "both": "both",
}


@dataclass(frozen=True)
class Comparison:
    """One candidate against the reference, as the JSON answer has it.

    ``eps`` and ``radius`` are l2 lengths in the pixels of an image of size ``resolution``, the one
    that is tampered with (the candidate, where both are). What a metric without a proven bound
    cannot say is ``None``; ``copy`` is ``None`` as well where the two are ``plain``: one of them
    holds too little (one colour, a page of text) for their distance to say whether they are copies.
    ``view`` of the reference decides, which is at ``view_distance`` and has the ``threshold``;
    ``distance`` and its interval are of the two as wholes.
    """

    candidate: str
    distance: float
    eps: float
    lower: float | None
    upper: float | None
    copy: bool | None
    radius: float | None
    resolution: tuple[int, int]
    plain: bool = False
    threshold: float | None = None
    view: str | None = None
    view_distance: float | None = None


@dataclass(frozen=True, eq=False)
class ReferenceView:
    """A view of the reference, in which a candidate may be a copy: its own embedding and threshold.

    ``cut`` is the part of the candidate that meets it, a map of norm at most 1; all of it by
    default. Of a view, ``features`` are in pixels of the view, so that what is proven for a change
    of it is proven for one of the whole.
    """

    name: str
    features: PixelFeatures
    threshold: StoredThreshold
    cut: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Reference:
    """The reference image, and its embedding where the metric has one: computed once."""

    image: Tensor
    features: PixelFeatures | None


def prepare(metric: Metric, image: Tensor) -> Reference:
    """The ``(3, h, w)`` reference, ready for :func:`compare_pair`."""
    batch = image[None]
    return Reference(batch, embed(metric, batch) if isinstance(metric, EmbeddingMetric) else None)


def compare_pair(
    metric: Metric,
    reference: Reference,
    candidate: Tensor,
    name: str,
    *,
    eps: Budget | float | None,
    views: Sequence[ReferenceView] | None,
    perturbed: PerturbedPair,
) -> Comparison:
    """Distance, interval and verdict of one ``(3, h, w)`` candidate, called ``name``.

    It is a copy where it is one of any of the reference's ``views``; without these there is no
    verdict. ``eps`` is an l2 length, or a budget of the image that is tampered with, of the smaller
    one where both are; ``None`` stands for one 8-bit level on every value. Raises ``ValueError``
    where the metric cannot compare the two.
    """
    batch = candidate[None]
    sizes = {"reference": _size(reference.image), "candidate": _size(batch)}
    budget = ONE_LEVEL if eps is None else eps
    if isinstance(budget, Budget):
        lengths = {role: budget.length(size) for role, size in sizes.items()}
        eps = min(lengths.values()) if perturbed == "both" else lengths[perturbed]
    else:
        eps = float(budget)
    resolution = sizes["reference" if perturbed == "reference" else "candidate"]
    if reference.features is None:
        if sizes["candidate"] != sizes["reference"]:
            raise ValueError(
                f"{_shown(sizes['candidate'])} pixels, but this metric compares images of one "
                f"size, and the reference has {_shown(sizes['reference'])}"
            )
        with torch.no_grad():
            distance = metric(reference.image, batch).item()
        return Comparison(name, distance, eps, None, None, None, None, resolution)
    assert isinstance(metric, EmbeddingMetric)
    features = embed(metric, batch)
    interval = distance_of_features(reference.features, features, eps, perturbed=perturbed)
    found = Comparison(
        name,
        interval.distance.item(),
        eps,
        interval.lower.item(),
        interval.upper.item(),
        None,
        None,
        resolution,
    )
    if not views:
        return found
    return _judged(found, [_in_view(metric, batch, features, one, perturbed) for one in views])


@dataclass(frozen=True)
class _InView:
    """The verdict in one view, the least distance first of what is furthest within."""

    view: str
    distance: float
    threshold: float
    copy: bool
    radius: float
    plain: bool


def _in_view(
    metric: EmbeddingMetric,
    candidate: Tensor,
    whole: PixelFeatures,
    view: ReferenceView,
    perturbed: PerturbedPair,
) -> _InView:
    features = whole if view.cut is None else embed(metric, view.cut(candidate))
    own = view.threshold
    found = own_copies_of_features(
        features, view.features, own.rule, own.vector, perturbed=_MOVES[perturbed]
    )
    return _InView(
        view.name,
        pair_distance(view.features, features).item(),
        own.distance,
        bool(found.decision.item()),
        found.radius.item(),
        found.plain is not None and bool(found.plain.item()),
    )


def _judged(found: Comparison, views: Sequence[_InView]) -> Comparison:
    """The verdict of all views: a copy by any of them stays one within the largest of their radii,
    what is none by all within the smallest. The view that is furthest within its threshold decides.
    """
    copies = [one for one in views if one.copy and not one.plain]
    deciding = min(copies or views, key=lambda one: one.distance - one.threshold)
    copy: bool | None = bool(copies)
    radius = max(one.radius for one in copies) if copies else min(one.radius for one in views)
    # Where one of the two is plain, "copy" means nothing, nor that there might be one.
    plain = not copies and any(one.plain and (one.copy or radius == 0) for one in views)
    if plain:
        copy, radius = None, 0.0
    return replace(
        found,
        copy=copy,
        radius=radius,
        plain=plain,
        threshold=deciding.threshold,
        view=deciding.view,
        view_distance=deciding.distance,
    )


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _size(batch: Tensor) -> tuple[int, int]:
    return batch.shape[2], batch.shape[3]


@dataclass(frozen=True)
class Judgement:
    """The answer for a triplet, as in the JSON; radii are ``None`` where nothing is proven."""

    closer: Literal["left", "right"]
    distance_left: float
    distance_right: float
    radius: float | None
    radius_paper: float | None
    perturbed: str


def judge_triplet(
    metric: Metric,
    reference: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    perturbed: PerturbedTriplet,
) -> Judgement:
    """Which of two ``(3, h, w)`` images is closer to the reference; ties go to the left one.

    Each image is embedded once. Raises ``ValueError`` where the metric cannot compare them.
    """
    if not isinstance(metric, EmbeddingMetric):
        with torch.no_grad():
            distance_left, distance_right = (
                metric(reference[None], candidate[None]).item() for candidate in (left, right)
            )
        closer: Literal["left", "right"] = "right" if distance_right < distance_left else "left"
        return Judgement(closer, distance_left, distance_right, None, None, perturbed)
    v, first, second = (embed(metric, image[None]) for image in (reference, left, right))
    certificate = twoafc_of_features(v, first, second, perturbed=perturbed)
    paper = certificate.radius_paper.item()
    return Judgement(
        "right" if certificate.decision.item() else "left",
        pair_distance(v, first).item(),
        pair_distance(v, second).item(),
        certificate.radius.item(),
        None if math.isnan(paper) else paper,
        perturbed,
    )
