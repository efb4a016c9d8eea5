"""Exact intervals of distances of pixels: l2, RMSE, PSNR and linf, while one image moves in l2.

The triangle inequality is attained: an image can move straight away from the other, or towards it.
Images may leave [0, 1], as everywhere; within it, the intervals hold as well.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.check import check_budget, check_choice, check_images, check_same_count
from percert.tensors import Images, Vector

PixelDistance: TypeAlias = Literal["l2", "rmse", "psnr", "linf"]
KINDS = ("l2", "rmse", "psnr", "linf")
#: Halvings of the level to which the largest differences can be brought.
HALVINGS = 60


@dataclass(frozen=True)
class PixelInterval:
    """``lower <= distance <= upper``, ``(n,)`` float64, while an image moves by at most ``eps``."""

    lower: Vector
    upper: Vector
    distance: Vector
    eps: float


def pixel_distance(
    reference: Images, candidate: Images, eps: float, kind: PixelDistance
) -> PixelInterval:
    """The exact interval of a distance of pixels while one of the two moves by l2 ``eps``.

    Both ``(n, 3, h, w)``, of one size. PSNR is in decibels (peak 1), infinite for equal images, and
    alone the larger the nearer they are. Raises ``ValueError`` for invalid input.

    >>> grey, white = torch.full((1, 3, 2, 2), 0.5), torch.ones(1, 3, 2, 2)
    >>> found = pixel_distance(grey, white, 0.5, "linf")
    >>> [round(x.item(), 4) for x in (found.lower, found.distance, found.upper)]
    [0.3557, 0.5, 1.0]
    """
    check_choice(kind, KINDS, "kind")
    eps = check_budget(eps)
    check_same_count(check_images(reference, "reference"), check_images(candidate, "candidate"))
    if reference.shape != candidate.shape:
        raise ValueError(
            f"candidate: expected the reference's size, {tuple(reference.shape[2:])}, "
            f"found {tuple(candidate.shape[2:])}"
        )
    difference = (reference.double() - candidate.double()).flatten(1).abs()
    if kind == "linf":
        now = difference.amax(1)
        return PixelInterval(_lowered(difference, eps), now + eps, now, eps)
    now = difference.norm(dim=1)
    low, high = (now - eps).clamp_min(0), now + eps
    if kind == "l2":
        return PixelInterval(low, high, now, eps)
    root = math.sqrt(difference.shape[1])
    if kind == "rmse":
        return PixelInterval(low / root, high / root, now / root, eps)
    near, at, far = (_decibels(length / root) for length in (low, now, high))
    return PixelInterval(far, near, at, eps)


def _decibels(rmse: Tensor) -> Tensor:
    return -20 * rmse.log10()


def _lowered(difference: Tensor, eps: float) -> Vector:
    """The least linf norm of ``(n, k)`` after an l2 move of eps: t with |(d - t)_+| = eps."""
    low, high = torch.zeros_like(difference[:, 0]), difference.amax(1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = (difference - middle[:, None]).clamp_min(0).norm(dim=1) <= eps
        high, low = torch.where(enough, middle, high), torch.where(enough, low, middle)
    # At 0 nothing is left: low has not moved.
    return low
