"""How much the similarity of gradients deviates over an image: GMSD, and MDSI with colour."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.color.colorimetry import mix, safe_sqrt
from percert.metrics.full_reference.similarity import (
    PREWITT,
    dissimilarity,
    gradient_magnitude,
    halve,
    luma,
    shrink_factor,
)
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Features, Images, Vector

#: c of the paper, for pixels in [0, 1].
GMSD_CONSTANT = 170 / 255**2
#: At half the size, one 3 x 3 gradient must fit.
GMSD_SMALLEST_SIDE = 6


class GMSD(Metric):
    """Gradient magnitude similarity deviation: 0 at identity, at most 1/2.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 6 pixels, and gives
    ``(n,)``: the standard deviation over pixels of how alike the lengths of the gradients are. On
    luma at half the size, with Prewitt gradients. 0 as well for images whose gradients differ
    everywhere alike; its gradient is 0 at identity. Raises ``ValueError`` where the shapes differ
    or a side is too short (Xue, Zhang, Mou and Bovik, IEEE TIP 2014, equations 4 to 6).

    >>> GMSD()(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return gmsd(reference, candidate)


def gmsd(reference: Images, candidate: Images) -> Vector:
    """The gradient magnitude similarity deviation of each pair, ``(n,)``: see :class:`GMSD`."""
    reference, candidate = check_pair(
        reference, candidate, smallest_side=GMSD_SMALLEST_SIDE, name="gmsd"
    )
    old, new = (gradient_magnitude(halve(luma(x)), PREWITT) for x in (reference, candidate))
    missing = dissimilarity(old, new, GMSD_CONSTANT).flatten(1)
    return safe_sqrt((missing - missing.mean(1, keepdim=True)).square().mean(1))


#: Red, green, blue to luminance and the two chromatic channels H and M.
LHM = ((0.2989, 0.587, 0.114), (0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
#: C1, C2, C3 of the paper, for pixels in [0, 255]; the share of the gradients against colour.
C1, C2, C3 = 140.0, 55.0, 550.0
ALPHA = 0.6
#: Both exponents, of the similarity and of the pooled deviation.
POWER = 0.25
#: Similarities nearer to 0 than this have a fourth root without a usable gradient.
FLOOR = 1e-8
MDSI_SMALLEST_SIDE = 3


class MDSI(Metric):
    """Mean deviation similarity index, a distance: 0 at identity, at most 1. Not symmetric.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 3 pixels, and gives
    ``(n,)``: the fourth root of the mean absolute deviation of the fourth root of similarity, which
    is that of luminance gradients, with the candidate's and the reference's to their average, and
    of chroma. Where it is negative its root is complex. The outer root makes MDSI rise like sqrt
    |d| from identity: its gradient is 0 there, finite elsewhere, and steep beside it. Raises
    ``ValueError`` where the shapes differ or a side is too short (Nafchi, Shahkolaei, Hedjam and
    Cheriet, IEEE Access 2016).

    >>> MDSI()(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return mdsi(reference, candidate)


def mdsi(reference: Images, candidate: Images) -> Vector:
    """The mean deviation similarity index of each pair, ``(n,)``: see :class:`MDSI`."""
    reference, candidate = check_pair(
        reference, candidate, smallest_side=MDSI_SMALLEST_SIDE, name="mdsi"
    )
    real, imaginary = _rooted(_missing(_channels(reference), _channels(candidate)))
    real = real - real.mean((1, 2, 3), keepdim=True)
    imaginary = imaginary - imaginary.mean((1, 2, 3), keepdim=True)
    deviation = safe_sqrt(real**2 + imaginary**2).flatten(1).mean(1)
    return safe_sqrt(safe_sqrt(deviation))


def _channels(images: Images) -> Images:
    """L, H and M for pixels in [0, 255], at a shorter side of about 256."""
    factor = shrink_factor(images)
    if factor > 1:
        before, after = (factor - 1) // 2, factor // 2
        images = F.avg_pool2d(F.pad(images, (before, after, before, after)), factor)
    return 255 * mix(images, torch.tensor(LHM, dtype=torch.float64))


def _missing(reference: Images, candidate: Images) -> Features:
    """What is missing to 1 in the similarity, per pixel; more than 1 where that is negative."""
    middle = (reference[:, :1] + candidate[:, :1]) / 2
    planes = (reference[:, :1], candidate[:, :1], middle)
    old, new, fused = (gradient_magnitude(plane, PREWITT) for plane in planes)
    edges = dissimilarity(old, new, C1)
    edges = edges + dissimilarity(new, fused, C2) - dissimilarity(old, fused, C2)
    chroma, changed = reference[:, 1:], candidate[:, 1:]
    power = (chroma**2 + changed**2).sum(1, keepdim=True)
    colour = ((chroma - changed) ** 2).sum(1, keepdim=True) / (power + C3)
    return ALPHA * edges + (1 - ALPHA) * colour


def _rooted(missing: Features) -> tuple[Features, Features]:
    """1 - (1 - missing)^(1/4), real and imaginary part; precise where little is missing."""
    small = missing < 0.5
    near = -torch.expm1(POWER * torch.log1p(-torch.where(small, missing, 0)))
    root = (1 - missing).abs().clamp_min(FLOOR) ** POWER
    negative = missing > 1
    angle = POWER * math.pi
    real = 1 - torch.where(negative, math.cos(angle), 1.0) * root
    imaginary = torch.where(negative, -math.sin(angle) * root, 0)
    return torch.where(small, near, real), imaginary
