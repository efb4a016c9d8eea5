"""How far a moved embedding turns: angles against lengths, in both directions.

A vector v = [h; c] whose h moves by at most rho turns by at most phi(rho) = asin(rho / |v|) while
rho <= |h|. Beyond, h can pass through 0 and point the other way: with c = 0 every direction is then
within reach, with c > 0 the angle is atan(|h| / c) + atan((rho - |h|) / c).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.tensors import Vector


def bisect(holds: Callable[[Vector], Tensor], low: Vector, high: Vector, halvings: int) -> Vector:
    """The largest length in [``low``, ``high``] at which ``holds``, row by row, from below.

    ``holds`` maps lengths ``(n,)`` to bools and must be true up to some length and false beyond.
    Whatever is returned has been tried and holds, or is ``low``.

    >>> bisect(lambda x: x < 1, torch.zeros(1), torch.full((1,), 3.0), halvings=30) < 1
    tensor([True])
    """
    for _ in range(halvings):
        middle = (low + high) / 2
        true = holds(middle)
        low, high = torch.where(true, middle, low), torch.where(true, high, middle)
    return low


def angle(a: Tensor, b: Tensor) -> Vector:
    """The angle in [0, pi] between unit vectors ``(n, k)``, row by row; ``(1, k)`` broadcasts.

    Stable at 0 and at pi, where acos of the inner product loses half the digits (Kahan).

    >>> angle(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]) / 2)
    tensor([1.5708])
    """
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


def cosine_distance(theta: Tensor) -> Tensor:
    """1 - cos theta, without cancellation at small angles."""
    return 2 * (theta / 2).sin().square()


def threshold_angle(threshold: Vector | float, shift: Vector | float = 0.0) -> Vector:
    """The angle whose cosine distance is ``threshold``, without cancellation at small ones.

    ``shift`` is added to the chord, the distance of two such directions: what rounding a distance
    near 2 does to its angle is much more than the same near 0. Of each one, or one a row.

    >>> threshold_angle(1.0)
    tensor(1.5708, dtype=torch.float64)
    """
    chord = (2 * torch.as_tensor(threshold, dtype=torch.float64)).sqrt() + shift
    return 2 * (chord / 2).clamp(0, 1).asin()


def turn(features: PixelFeatures, length: Tensor) -> Vector:
    """The largest angle in [0, pi] by which features turn that move by at most ``length``.

    Exact for k >= 2; pi for a zero vector.
    """
    h, n, c = features.norm_h, features.norm, features.constant
    near = (length / torch.where(n > 0, n, 1.0)).clamp(0, 1).asin()
    if c == 0:
        return torch.where(length < h, near, math.pi)
    height = torch.full_like(h, c)
    far = torch.atan2(h, height) + torch.atan2(length - h, height)
    return torch.where(length < h, near, far)


def reach(features: PixelFeatures, theta: Tensor) -> Vector:
    """The length that features must move to turn by ``theta``: the inverse of :func:`turn`.

    0 where ``theta <= 0``; infinite where c > 0 and no move of h turns v that far.
    """
    h, n, c = features.norm_h, features.norm, features.constant
    near = n * theta.clamp(0, math.pi / 2).sin()
    if c == 0:
        return near
    quarter = torch.atan2(h, torch.full_like(h, c))
    rest = theta - quarter
    far = torch.where(rest < math.pi / 2, h + c * rest.clamp(0, math.pi / 2).tan(), math.inf)
    return torch.where(rest > 0, far, near)


def joint_reach(a: PixelFeatures, b: PixelFeatures, theta: Tensor) -> Vector:
    """The length that both must move to turn by ``theta`` together, each as it can.

    It solves phi_a(R) + phi_b(R) = theta. With phi = asin(R / n) that is R = sin theta /
    sqrt(1/a^2 + 1/b^2 + 2 cos theta / (a b)), the law of sines in a triangle with sides 1/a and
    1/b; where the shorter vector is used up before (asin(m/a) + asin(m/b) <= theta at
    m = min(a, b)), R = m. For c > 0 this holds while R <= |h|, and bisection finds what is beyond.
    0 where ``theta <= 0``.
    """
    short, long = torch.minimum(a.norm, b.norm), torch.maximum(a.norm, b.norm)
    ratio = short / torch.where(long > 0, long, 1.0)
    within = theta.clamp(0, math.pi)
    # Scaled by the shorter norm, so that nothing overflows. The square is 0 only at equal norms
    # and theta = pi, where the cap applies.
    square = 1 + ratio.square() + 2 * ratio * within.cos()
    solved = (short * within.sin() / square.clamp_min(1e-300).sqrt()).minimum(short)
    capped = math.pi / 2 + ratio.clamp(0, 1).asin() <= within
    length = torch.where(capped, short, solved)
    if a.constant == 0 and b.constant == 0:
        return length

    # On w in [0, 1), the length short * w / (1 - w) runs through all of them.
    def holds(w: Tensor) -> Tensor:
        tried = short * w / (1 - w)
        return turn(a, tried) + turn(b, tried) < theta

    w = bisect(holds, torch.zeros_like(length), torch.ones_like(length), halvings=48)
    everywhere = torch.full_like(length, math.inf)
    never = turn(a, everywhere) + turn(b, everywhere) <= theta
    return torch.where(never, everywhere, torch.maximum(length, short * w / (1 - w)))
