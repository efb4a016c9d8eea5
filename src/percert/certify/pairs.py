"""Certificates of pairs: the interval of their distance, and whether they are copies."""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.certify.angles import angle, cosine_distance, joint_reach, reach, threshold_angle, turn
from percert.certify.certificate import Certificate, Interval
from percert.certify.features import PixelFeatures, embed
from percert.certify.lipsim_bounds import proposition_1, proposition_1_holds, reported
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


def copies(
    metric: Metric,
    reference: Images,
    candidate: Images,
    threshold: float,
    *,
    perturbed: PerturbedPair = "candidate",
) -> Certificate:
    """Whether the distance of each pair is at most ``threshold``, and the radius of that answer.

    ``reference`` and ``candidate`` are ``(n, 3, h, w)``, perhaps of different sizes; ``threshold``
    is a cosine distance in [0, 2]. The decision ``(n,)`` is a bool; True stays True, and False
    False, while the images that move each do so by less than the radius (pixel l2). Where one of
    the two, as given, holds too little to be told from others (``plain``: one colour, and for a
    centred metric a page of text), "copy" is not certified at all. Raises ``ValueError`` for a
    metric without a proven bound and for invalid input.

    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> same = copies(metric, photo, photo, 0.2)
    >>> same.decision.item(), round(same.radius.item(), 2)
    (True, 2.75)
    """
    first, second = embed(metric, reference), embed(metric, candidate)
    check_same_count(reference, candidate)
    return copies_of_features(first, second, threshold, perturbed=perturbed)


def copies_of_features(
    reference: PixelFeatures,
    candidate: PixelFeatures,
    threshold: Vector | float,
    *,
    perturbed: PerturbedPair = "candidate",
) -> Certificate:
    """:func:`copies` of embeddings; one of the two may hold a single row, used for all.

    ``threshold`` may be one a pair, ``(n,)``. The angle of the pair must not pass theta_tau =
    acos(1 - threshold). One image turns the gap |theta_tau - theta| when it moves by n sin(gap);
    both together by the law of sines. Exact for c = 0 and k >= 2, up to the floating-point slack;
    the same on either side of the threshold.
    """
    check_choice(perturbed, PAIR, "perturbed")
    given = torch.as_tensor(threshold, dtype=torch.float64, device=reference.h.device)
    if not bool(((given >= 0) & (given <= 2)).all()):
        raise ValueError(f"threshold: expected a cosine distance in [0, 2], found {threshold}")
    theta = angle(reference.directions, candidate.directions)
    now = pair_distance(reference, candidate)
    always = (given >= 2) & now.isfinite()
    decision = (now <= given) | always
    gap = torch.where(
        decision,
        threshold_angle(given, -reference.rounding) - theta,
        theta - threshold_angle(given, reference.rounding),
    )
    gap = gap - reference.rounding
    if perturbed == "both":
        length = joint_reach(reference, candidate, gap)
        radius = torch.minimum(reference.budget(length), candidate.budget(length))
        moving = {"reference": reference, "candidate": candidate}
    else:
        mover, fixed = (
            (candidate, reference) if perturbed == "candidate" else (reference, candidate)
        )
        slack = turn(fixed, fixed.moved(0.0))
        radius = mover.budget(reach(mover, gap - slack))
        moving = {perturbed: mover}
    # Pictures that hold too little are near one another, whatever they show: no copies are made. It
    # is a rule on the pictures as given: that the distance stays within the threshold is proven
    # all the same where tampering takes what they hold.
    plain = is_plain(reference, candidate)
    radius = torch.where(decision & plain, 0.0, radius)
    # A comparison with NaN is False: what is not known is not certified.
    known = reference.valid & candidate.valid & (radius > 0)
    radius = torch.where(known, radius, 0.0)
    # At 2 no two directions are farther apart.
    radius = torch.where(always, math.inf, radius)
    known = known | always
    paper = proposition_1((given - now).abs(), *moving.values())
    return Certificate(
        decision=decision,
        radius=radius,
        radius_paper=torch.where(known, reported(paper, radius), math.nan),
        perturbed=perturbed,
        bounds={role: features.bound for role, features in moving.items()},
        plain=plain,
    )


def is_plain(reference: PixelFeatures, candidate: PixelFeatures) -> Tensor:
    """Whether one of each pair holds too little (:class:`~percert.lipschitz.centre.Content`)."""
    plain = torch.zeros_like(reference.norm_h + candidate.norm_h, dtype=torch.bool)
    for features in (reference, candidate):
        if features.content is not None:
            plain = plain | ~(features.budget(features.content) > 0)
    return plain
