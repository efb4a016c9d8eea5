"""The whole answer for one pair or triplet, as JSON has it: distance, interval, verdict, radius."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, embed
from percert.certify.own_threshold import PerturbedStored, StoredThreshold, own_copies_of_features
from percert.certify.pairs import (
    PerturbedPair,
    copies_of_features,
    distance_of_features,
    pair_distance,
)
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
    threshold: float | StoredThreshold | None,
    perturbed: PerturbedPair,
) -> Comparison:
    """Distance, interval and verdict of one ``(3, h, w)`` candidate, called ``name``.

    ``threshold`` is a number for all pairs, or the reference's own, which changes as the reference
    moves. ``eps`` is an l2 length, or a budget that is resolved at the size of the image that is
    tampered with (the smaller of the two, where both are); ``None`` stands for one 8-bit level on
    every value. Raises ``ValueError`` where the metric cannot compare the two.
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
    features = embed(metric, batch)
    interval = distance_of_features(reference.features, features, eps, perturbed=perturbed)
    copy, radius, plain = None, None, False
    if threshold is not None:
        if isinstance(threshold, StoredThreshold):
            certificate = own_copies_of_features(
                features,
                reference.features,
                threshold.rule,
                threshold.vector,
                perturbed=_MOVES[perturbed],
            )
        else:
            certificate = copies_of_features(
                reference.features, features, threshold, perturbed=perturbed
            )
        copy, radius = bool(certificate.decision.item()), certificate.radius.item()
        one = certificate.plain is not None and bool(certificate.plain.item())
        if one and (copy or radius == 0):
            copy, plain = None, True
    return Comparison(
        name,
        interval.distance.item(),
        eps,
        interval.lower.item(),
        interval.upper.item(),
        copy,
        radius,
        resolution,
        plain,
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
