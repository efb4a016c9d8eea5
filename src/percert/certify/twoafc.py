"""Which of two candidates is closer, and how far images may be perturbed without changing it."""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.certify.bisection import bisect
from percert.certify.certificate import Certificate
from percert.certify.cone import cone_distance
from percert.certify.distance import pair_distance
from percert.certify.embed import embed
from percert.certify.features import PixelFeatures
from percert.certify.paper import equation_8, proposition_1, reported
from percert.certify.turning import angle, joint_reach, turn
from percert.check import check_choice, check_same_count
from percert.metrics.metric import Metric
from percert.tensors import Images, Vector

PerturbedTriplet: TypeAlias = Literal["reference", "candidates", "all"]
#: Halvings of the bracket of the radius where all three images move.
HALVINGS = 34


def twoafc(
    metric: Metric,
    reference: Images,
    left: Images,
    right: Images,
    *,
    perturbed: PerturbedTriplet = "reference",
) -> Certificate:
    """Which of ``left`` (0) and ``right`` (1) is closer to ``reference``, and the answer's radius.

    Images are ``(n, 3, h, w)``, the three perhaps of different sizes. The decision ``(n,)`` stays
    while the images that move each do so by less than the radius (pixel l2, each in its own
    pixels); a tie has radius 0. Raises ``ValueError`` for a metric without a proven bound and for
    invalid input. LipSim, Theorem 1 and Eq. 8, with the norm of the embedding in it.

    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> judged = twoafc(metric, photo, photo, 1 - photo)
    >>> judged.decision.item(), round(judged.radius.item(), 2)
    (0, 4.58)
    """
    v, first, second = embed(metric, reference), embed(metric, left), embed(metric, right)
    check_same_count(reference, left, "left")
    check_same_count(reference, right, "right")
    return twoafc_of_features(v, first, second, perturbed=perturbed)


def twoafc_of_features(
    reference: PixelFeatures,
    left: PixelFeatures,
    right: PixelFeatures,
    *,
    perturbed: PerturbedTriplet = "reference",
) -> Certificate:
    """:func:`twoafc` of embeddings, ``(n, k)`` each."""
    check_choice(perturbed, ("reference", "candidates", "all"), "perturbed")
    d_left, d_right = pair_distance(reference, left), pair_distance(reference, right)
    # By the angles: near 2, distances no longer tell two angles apart.
    directions = reference.directions
    right_closer = angle(directions, right.directions) < angle(directions, left.directions)
    decision = right_closer.long()
    margin = (d_right - d_left).abs()
    difference = (left.directions - right.directions).norm(dim=1)
    moving = {"reference": reference, "left": left, "right": right}
    if perturbed == "reference":
        radius = reference_radius(reference, left, right)
        paper = equation_8(margin, difference, reference)
        moving = {"reference": reference}
    elif perturbed == "candidates":
        radius = candidates_radius(reference, left, right)
        paper = proposition_1(margin, left, right)
        del moving["reference"]
    else:
        radius = all_radius(reference, left, right)
        # The reference is in both distances.
        paper = proposition_1(margin, reference, reference, left, right)
    # A comparison with NaN is False: what is not known is not certified.
    known = reference.valid & left.valid & right.valid & (radius > 0)
    radius = torch.where(known, radius, 0.0)
    return Certificate(
        decision=decision,
        radius=radius,
        radius_paper=torch.where(known, reported(paper, radius), math.nan),
        perturbed=perturbed,
        bounds={role: features.bound for role, features in moving.items()},
    )


def reference_radius(reference: PixelFeatures, left: PixelFeatures, right: PixelFeatures) -> Vector:
    """How far the reference may move: |<v, u>| / |u_k|, u = g_0 - g_1, u_k without the constant.

    The distance of h to the hyperplane between the two candidates: exact, for every c.
    """
    u = left.directions - right.directions
    u_k = u[:, : reference.h.shape[1]].norm(dim=1)
    margin = (reference.vectors * u).sum(dim=1).abs()
    return plane_radius(reference, margin, u_k, stray(left) + stray(right))


def plane_radius(reference: PixelFeatures, margin: Vector, u_k: Vector, xi: Tensor) -> Vector:
    """``margin / u_k`` less the slack, where u itself may be off by ``xi``."""
    return reference.budget((margin - reference.norm * xi).clamp_min(0) / (u_k + xi))


def stray(features: PixelFeatures) -> Vector:
    """How far the unit vector g of an image that does not move may be off: 2 sin(turn / 2)."""
    return 2 * (turn(features, features.moved(0.0)) / 2).sin()


def candidates_radius(
    reference: PixelFeatures, left: PixelFeatures, right: PixelFeatures
) -> Vector:
    """How far both candidates may move: until they turn by |theta_1 - theta_0| together.

    Exact for c = 0 and k >= 2, up to the slack.
    """
    v, g0, g1 = reference.directions, left.directions, right.directions
    gap = (angle(v, g0) - angle(v, g1)).abs()
    slack = 2 * turn(reference, reference.moved(0.0)) + reference.rounding
    length = joint_reach(left, right, gap - slack)
    return torch.minimum(left.budget(length), right.budget(length))


def all_radius(reference: PixelFeatures, left: PixelFeatures, right: PixelFeatures) -> Vector:
    """How far all three may move, by the convex cone of ``percert.certify.cone``.

    Found by bisection from below, so that the result is itself certified. Exact for c = 0 and
    k >= 3, up to the slack. For c > 0 sound, and the larger of it and of what the simple rule
    2 phi + phi_0 + phi_1 < |theta_1 - theta_0| certifies.
    """
    v, g0, g1 = reference.directions, left.directions, right.directions
    gap = (angle(v, g0) - angle(v, g1)).abs() - reference.rounding
    closer = (angle(v, g0) <= angle(v, g1))[:, None]
    near, far = torch.where(closer, g0, g1), torch.where(closer, g1, g0)
    half = angle(g0, g1) / 2 - reference.rounding

    def certified(eps: Vector) -> Tensor:
        turned = turn(left, left.moved(eps)) + turn(right, right.moved(eps)) + reference.rounding
        length = reference.moved(eps)
        by_cone = cone_distance(reference.vectors, near, far, half, turned) > length
        return by_cone | (2 * turn(reference, length) + turned < gap)

    # What moves fewer images has no smaller radius.
    low = torch.zeros_like(gap)
    high = torch.minimum(
        reference_radius(reference, left, right), candidates_radius(reference, left, right)
    )
    return bisect(certified, low, high, HALVINGS)
