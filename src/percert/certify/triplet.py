"""All that is to be said about a reference and two candidates: the closer one, and the radius."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.certify.distance import pair_distance
from percert.certify.embed import embed
from percert.certify.twoafc import PerturbedTriplet, twoafc_of_features
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.metric import Metric


@dataclass(frozen=True)
class Judgement:
    """The answer, as the JSON has it; the radii are ``None`` where nothing can be proven so."""

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
    """Which of two ``(3, h, w)`` images is closer to the reference; left where they tie.

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
