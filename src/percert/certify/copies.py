"""Whether two images count as copies, and how far either may be perturbed without changing that."""

import math

import torch
from torch import Tensor

from percert.certify.certificate import Certificate
from percert.certify.distance import PAIR, PerturbedPair, pair_distance
from percert.certify.embed import embed
from percert.certify.features import PixelFeatures
from percert.certify.paper import proposition_1, reported
from percert.certify.turning import angle, joint_reach, reach, threshold_angle, turn
from percert.check import check_choice, check_same_count
from percert.metrics.metric import Metric
from percert.tensors import Images


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
    threshold: float,
    *,
    perturbed: PerturbedPair = "candidate",
) -> Certificate:
    """:func:`copies` of embeddings; one of the two may hold a single row, used for all.

    The angle of the pair must not pass theta_tau = acos(1 - threshold). One image turns the gap
    |theta_tau - theta| when it moves by n sin(gap); both together by the law of sines. Exact for
    c = 0 and k >= 2, up to the floating-point slack; the same on either side of the threshold.
    """
    check_choice(perturbed, PAIR, "perturbed")
    if not 0 <= threshold <= 2:
        raise ValueError(f"threshold: expected a cosine distance in [0, 2], found {threshold}")
    theta = angle(reference.directions, candidate.directions)
    now = pair_distance(reference, candidate)
    always = threshold >= 2
    decision = (now <= threshold) | (always & now.isfinite())
    gap = torch.where(
        decision,
        threshold_angle(threshold, -reference.rounding) - theta,
        theta - threshold_angle(threshold, reference.rounding),
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
    plain = _plain(reference, candidate)
    radius = torch.where(decision & plain, 0.0, radius)
    # A comparison with NaN is False: what is not known is not certified.
    known = reference.valid & candidate.valid & (radius > 0)
    radius = torch.where(known, radius, 0.0)
    if always:  # No two directions are farther apart.
        radius = torch.where(decision, math.inf, radius)
        known = known | decision
    paper = proposition_1((threshold - now).abs(), *moving.values())
    return Certificate(
        decision=decision,
        radius=radius,
        radius_paper=torch.where(known, reported(paper, radius), math.nan),
        perturbed=perturbed,
        bounds={role: features.bound for role, features in moving.items()},
        plain=plain,
    )


def _plain(reference: PixelFeatures, candidate: PixelFeatures) -> Tensor:
    """Whether one of each pair holds too little (:class:`~percert.lipschitz.centre.Content`)."""
    plain = torch.zeros_like(reference.norm_h + candidate.norm_h, dtype=torch.bool)
    for features in (reference, candidate):
        if features.content is not None:
            plain = plain | ~(features.budget(features.content) > 0)
    return plain
