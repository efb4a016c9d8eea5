"""The cone of references that stay closer to one candidate than to another while both turn.

Candidate 0 can turn away from the reference by phi_0 and candidate 1 towards it by phi_1. The
reference v is safe while angle(v, g_1) - angle(v, g_0) > s = phi_0 + phi_1. As angle(v, g_1) =
pi - angle(v, -g_1), these are the directions whose angles to the foci g_0 and -g_1 add up to less
than pi - s: a spherical ellipse, so a convex cone.

With f half the angle between the candidates, p = unit(g_0 + g_1), q = unit(g_0 - g_1) and
X = <v, p>, Y = <v, q>, Z = the length of the rest, it reads
    Y > 0,  B Y^2 > A X^2 + Z^2,
    A = 1 - cos^2 f / cos^2(s/2),  B = sin^2 f / sin^2(s/2) - 1.
"""

import torch
from torch import Tensor

from percert.tensors import Vector

#: Halvings of the bracket of the multiplier. Any multiplier gives a sound bound; more are tighter.
HALVINGS = 32


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
    for _ in range(HALVINGS):
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
