"""Which of two candidates is closer, and how far images may be perturbed without changing it.

Where all three move, the certificate is a cone. Candidate 0 can turn away from the reference by
phi_0 and candidate 1 towards it by phi_1. The reference v is safe while
angle(v, g_1) - angle(v, g_0) > s = phi_0 + phi_1. As angle(v, g_1) = pi - angle(v, -g_1), these are
the directions whose angles to the foci g_0 and -g_1 add up to less than pi - s: a spherical
ellipse, so a convex cone.

With f half the angle between the candidates, p = unit(g_0 + g_1), q = unit(g_0 - g_1) and
X = <v, p>, Y = <v, q>, Z = the length of the rest, it reads
    Y > 0,  B Y^2 > A X^2 + Z^2,
    A = 1 - cos^2 f / cos^2(s/2),  B = sin^2 f / sin^2(s/2) - 1.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.certify.angles import angle, bisect, joint_reach, turn
from percert.certify.certificate import Certificate
from percert.certify.features import PixelFeatures, embed
from percert.certify.lipsim_bounds import equation_8, equation_10, proposition_1, reported
from percert.certify.pairs import pair_distance
from percert.check import check_choice, check_same_count
from percert.metrics.metric import Metric
from percert.tensors import Images, Vector

#: Halvings of the bracket of the multiplier. Any multiplier gives a sound bound; more are tighter.
CONE_HALVINGS = 32


def cone_distance(v: Tensor, g0: Tensor, g1: Tensor, half: Vector, s: Vector) -> Vector:
    """A lower bound of the distance from v to the edge of its safe cone; 0 outside of it.

    ``v``, ``g0``, ``g1`` are ``(n, k)``, the latter two unit vectors that enclose the angle
    2 ``half``, and ``s`` is the sum of the candidates' turns, all ``(n,)``. Exact up to rounding
    for k >= 3.

    The squared distance is the largest value, over multipliers 0 <= m < 1, of the dual
        D(m) = m B Y^2 / (1 + m B) - m A X^2 / (1 - m A) - m Z^2 / (1 - m),
    by the S-lemma: D(m) is the least of |w - v|^2 + m (B w_Y^2 - A w_X^2 - w_Z^2) over w, and the
    second term is at most 0 at the edge. D is concave; a multiplier that is not quite the best
    gives a smaller distance, never one that is too large.
    """
    p, q = _unit(g0 + g1), _unit(g0 - g1)
    x, y = (v * p).sum(dim=1), (v * q).sum(dim=1)
    z = (v - x[:, None] * p - y[:, None] * q).square().sum(dim=1)
    square = x.square() + y.square() + z
    # cos^2(s/2) - cos^2(f) = sin(f + s/2) sin(f - s/2), and likewise for the sines.
    spread = (half + s / 2).sin() * (half - s / 2).sin()
    a = spread / (s / 2).cos().square()
    b = spread / (s / 2).sin().square()
    inside = (s > 0) & (s / 2 < half) & (y > 0) & (b * y.square() > a * x.square() + z)

    # The best multiplier is of the order of s where s is small: halve its square root instead.
    low, high = torch.zeros_like(s), torch.ones_like(s)
    for _ in range(CONE_HALVINGS):
        middle = (low + high) / 2
        m = middle.square()
        slope = (
            b * (y / (1 + m * b)).square() - a * (x / (1 - m * a)).square() - z / (1 - m).square()
        )
        low, high = torch.where(slope > 0, middle, low), torch.where(slope > 0, high, middle)
    m = low.square()
    dual = m * (b * y.square() / (1 + m * b) - a * x.square() / (1 - m * a) - z / (1 - m))
    # Each term is off by a few units times the length of its sums, in proportion to |v|^2.
    cancelled = 8 * (v.shape[1] + 8) * 2.0**-53
    distance = (dual - cancelled * square).clamp_min(0).sqrt()
    return torch.where(inside, distance, 0.0)


def _unit(vectors: Tensor) -> Tensor:
    norm = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(norm > 0, norm, 1.0)


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
    tsuzuku = None
    if perturbed == "reference":
        radius = reference_radius(reference, left, right)
        paper = equation_8(margin, difference, reference)
        tsuzuku = equation_10(margin, reference)
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
        radius_tsuzuku=None
        if tsuzuku is None
        else torch.where(known, reported(tsuzuku, radius), math.nan),
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
    """How far a computed unit vector of an image that does not move is off: 2 sin(turn / 2)."""
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
    """How far all three may move, by the convex cone of ``percert.certify.twoafc``.

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
