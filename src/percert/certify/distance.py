"""Between which values the distance of two images stays under perturbation."""

import math
from typing import Literal, TypeAlias

import torch

from percert.certify.certificate import Interval
from percert.certify.embed import embed
from percert.certify.features import PixelFeatures
from percert.certify.paper import proposition_1_holds
from percert.certify.turning import angle, cosine_distance, turn
from percert.check import check_budget, check_choice, check_same_count
from percert.metrics.metric import Metric
from percert.tensors import Images, Vector

PerturbedPair: TypeAlias = Literal["candidate", "reference", "both"]
PAIR = ("candidate", "reference", "both")


def distance(
    metric: Metric,
    reference: Images,
    candidate: Images,
    eps: float,
    *,
    perturbed: PerturbedPair = "candidate",
) -> Interval:
    """The interval that the distance of each pair cannot leave within an l2 budget of ``eps``.

    ``reference`` and ``candidate`` are ``(n, 3, h, w)``, perhaps of different sizes; ``eps >= 0``
    is an l2 length in pixels in [0, 1], for each of the images that move. Raises ``ValueError`` for
    a metric without a proven bound and for invalid input. Tighter than LipSim, Proposition 1.

    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> moved = distance(metric, photo, photo, 0.5)
    >>> moved.lower.item(), round(moved.upper.item(), 4)
    (0.0, 0.006)
    """
    first, second = embed(metric, reference), embed(metric, candidate)
    check_same_count(reference, candidate)
    return distance_of_features(first, second, eps, perturbed=perturbed)


def distance_of_features(
    reference: PixelFeatures,
    candidate: PixelFeatures,
    eps: float,
    *,
    perturbed: PerturbedPair = "candidate",
) -> Interval:
    """:func:`distance` of embeddings; one of the two may hold a single row, used for all.

    An embedding that moves by eps turns by at most phi(eps), and the angle theta of the pair by no
    more: d stays in [1 - cos(theta - phi), 1 - cos(theta + phi)]; both turns add where both move.
    Exact for c = 0 and k >= 2, up to the floating-point slack.
    """
    check_choice(perturbed, PAIR, "perturbed")
    eps = check_budget(eps)
    moves = {
        "reference": (reference, eps if perturbed != "candidate" else 0.0),
        "candidate": (candidate, eps if perturbed != "reference" else 0.0),
    }
    theta = angle(reference.directions, candidate.directions)
    turned = sum(
        (turn(features, features.moved(budget)) for features, budget in moves.values()),
        torch.full_like(theta, reference.rounding),
    )
    # Near 2, rounding a distance weighs more than rounding its angle.
    lower = cosine_distance((theta - turned).clamp_min(0)) * (1 - 4 * reference.rounding)
    upper = cosine_distance((theta + turned).clamp_max(math.pi)) * (1 + 4 * reference.rounding)
    upper = upper.clamp_max(2)
    known = reference.valid & candidate.valid
    lower, upper = torch.where(known, lower, 0.0), torch.where(known, upper, 2.0)

    now = pair_distance(reference, candidate)
    change = torch.zeros_like(now)
    holds = known
    for features, budget in moves.values():
        length = features.moved(budget)
        change = change + features.bound.value * length
        holds = holds & proposition_1_holds(length, features)
    return Interval(
        lower=lower,
        upper=upper,
        distance=now,
        eps=eps,
        lower_paper=torch.where(holds, (now - change).clamp_min(0), math.nan),
        upper_paper=torch.where(holds, (now + change).clamp_max(2), math.nan),
        perturbed=perturbed,
        bounds={
            role: features.bound
            for role, (features, _) in moves.items()
            if perturbed in (role, "both")
        },
    )


def pair_distance(reference: PixelFeatures, candidate: PixelFeatures) -> Vector:
    """The cosine distance of each pair, |g - g'|^2 / 2, as the metric computes it, in float64."""
    return (reference.directions - candidate.directions).square().sum(dim=1) / 2
