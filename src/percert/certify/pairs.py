"""Certificates of pairs: the interval of their distance, and whether they are copies."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.certify.angles import cosine_distance, joint_reach, reach, threshold_angle, turn
from percert.certify.certificate import Certificate, Interval
from percert.certify.features import PixelFeatures, embed
from percert.certify.lipsim_bounds import proposition_1, proposition_1_holds, reported
from percert.check import check_budget, check_choice, check_same_count
from percert.metrics.metric import Metric
from percert.tensors import Images, Vector

PerturbedPair: TypeAlias = Literal["candidate", "reference", "both"]
PAIR = ("candidate", "reference", "both")


@dataclass(frozen=True, eq=False)
class FeaturePairs:
    """Pairs ``(n,)`` of embeddings; one of the two may hold a single row, used for all.

    What several certificates of a pair need is computed once.
    """

    reference: PixelFeatures
    candidate: PixelFeatures

    @cached_property
    def _apart(self) -> Tensor:
        return self.reference.directions - self.candidate.directions

    @cached_property
    def distance(self) -> Vector:
        """The cosine distance of each pair, |g - g'|^2 / 2, as the metric computes it, float64."""
        return self._apart.square().sum(dim=1) / 2

    @cached_property
    def theta(self) -> Vector:
        """The angle of each pair, as :func:`~percert.certify.angles.angle` finds it."""
        together = self.reference.directions + self.candidate.directions
        return 2 * torch.atan2(self._apart.norm(dim=1), together.norm(dim=1))

    @cached_property
    def valid(self) -> Tensor:
        """True where both have a direction."""
        return self.reference.valid & self.candidate.valid

    @cached_property
    def _still(self) -> tuple[Vector, Vector]:
        """How far each turns that does not move, for float rounding."""
        both = self.reference, self.candidate
        return turn(both[0], both[0].moved(0.0)), turn(both[1], both[1].moved(0.0))

    def moves(self, perturbed: PerturbedPair) -> dict[PerturbedPair, PixelFeatures]:
        """Those that move, by role."""
        both: dict[PerturbedPair, PixelFeatures]
        both = {"reference": self.reference, "candidate": self.candidate}
        return both if perturbed == "both" else {perturbed: both[perturbed]}

    def bounds(self, eps: float, perturbed: PerturbedPair) -> tuple[Vector, Vector]:
        """Between what the distance stays: :func:`distance_of_features`."""
        turns = list(self._still)
        if eps:
            for at, role in enumerate(("reference", "candidate")):
                if perturbed in (role, "both"):
                    features = (self.reference, self.candidate)[at]
                    turns[at] = turn(features, features.moved(eps))
        turned = turns[0] + turns[1] + self.reference.rounding
        # Near 2, rounding a distance weighs more than rounding its angle.
        off = 4 * self.reference.rounding
        lower = cosine_distance((self.theta - turned).clamp_min(0)) * (1 - off)
        upper = cosine_distance((self.theta + turned).clamp_max(math.pi)) * (1 + off)
        known = self.valid
        return torch.where(known, lower, 0.0), torch.where(known, upper.clamp_max(2), 2.0)

    def verdicts(self, threshold: Vector, perturbed: PerturbedPair) -> tuple[Tensor, Vector]:
        """Whether they are copies, and within which radius: :func:`copies_of_features`."""
        reference, candidate, now, theta = self.reference, self.candidate, self.distance, self.theta
        always = (threshold >= 2) & now.isfinite()
        decision = (now <= threshold) | always
        shift = torch.full_like(theta, reference.rounding)
        gap = threshold_angle(threshold, torch.where(decision, -shift, shift)) - theta
        gap = torch.where(decision, gap, -gap) - reference.rounding
        if perturbed == "both":
            length = joint_reach(reference, candidate, gap)
            radius = torch.minimum(reference.budget(length), candidate.budget(length))
        else:
            first = perturbed == "reference"
            mover, slack = (reference if first else candidate), self._still[1 if first else 0]
            radius = mover.budget(reach(mover, gap - slack))
        # Pictures that hold too little are near one another, whatever they show: no copies are
        # made. It is a rule on the pictures as given: that the distance stays within the threshold
        # is proven all the same where tampering takes what they hold.
        abstains = decision & self.plain
        # A comparison with NaN is False: what is not known is not certified.
        known = self.valid & (radius > 0) & ~abstains
        # At 2 no two directions are farther apart.
        return decision, torch.where(always, math.inf, torch.where(known, radius, 0.0))

    @cached_property
    def plain(self) -> Tensor:
        """Whether one of each holds too little (:class:`~percert.lipschitz.centre.Content`)."""
        plain = torch.zeros_like(self.valid)
        for features in (self.reference, self.candidate):
            if features.content is not None:
                plain = plain | ~(features.budget(features.content) > 0)
        return plain


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
    pairs = FeaturePairs(reference, candidate)
    lower, upper = pairs.bounds(eps, perturbed)
    now, moving = pairs.distance, pairs.moves(perturbed)
    change, holds = torch.zeros_like(now), pairs.valid
    for role, features in (("reference", reference), ("candidate", candidate)):
        length = features.moved(eps if role in moving else 0.0)
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
        bounds={role: features.bound for role, features in moving.items()},
    )


def pair_distance(reference: PixelFeatures, candidate: PixelFeatures) -> Vector:
    """The cosine distance of each pair, |g - g'|^2 / 2, as the metric computes it, in float64."""
    return FeaturePairs(reference, candidate).distance


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
    pairs = FeaturePairs(reference, candidate)
    decision, radius = pairs.verdicts(given, perturbed)
    moving = pairs.moves(perturbed)
    paper = proposition_1((given - pairs.distance).abs(), *moving.values())
    return Certificate(
        decision=decision,
        radius=radius,
        radius_paper=torch.where(radius > 0, reported(paper, radius), math.nan),
        perturbed=perturbed,
        bounds={role: features.bound for role, features in moving.items()},
        plain=pairs.plain,
    )
