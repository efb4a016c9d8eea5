"""Feature similarity (FSIMc, the one for colour), as a distance."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.metrics.pair import check_pair
from percert.metrics.phase_congruency import phase_congruency
from percert.metrics.similarity import (
    SCHARR,
    dissimilarity,
    gradient_magnitude,
    shrink_factor,
    yiq,
)
from percert.tensors import Features, Images, Vector

#: T1 to T4 of the paper, for pixels in [0, 255], and lambda, the weight of chroma.
T1, T2, T3, T4 = 0.85, 160.0, 200.0, 200.0
LAMBDA = 0.03
#: Below this, |S_I S_Q|^lambda has no usable gradient (its value there is 0.58 and less).
FLOOR = 1e-8
SMALLEST_SIDE = 16


def fsim_distance(reference: Images, candidate: Images) -> Vector:
    """``1 - FSIMc``, shape ``(n,)``, in [0, 1].

    Both batches have shape ``(n, 3, h, w)``, in [0, 1], sides of at least 16 pixels. How alike
    phase congruency, Scharr gradients and chroma are at each pixel, averaged with the larger of the
    two phase congruencies as the weight. Computed from what is missing to 1, so that it is exactly
    0 at identity and precise beside it. Two flat images are at 0, whatever their colour. Raises
    ``ValueError`` where the shapes differ or a side is too short (Zhang, Zhang, Mou and Zhang 2011;
    where S_I S_Q is negative, its absolute value is taken).

    >>> fsim_distance(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([0.])
    """
    reference, candidate = check_pair(
        reference, candidate, smallest_side=SMALLEST_SIDE, name="fsim"
    )
    first, second = _channels(reference), _channels(candidate)
    x, y = phase_congruency(first[:, :1]), phase_congruency(second[:, :1])
    phase = dissimilarity(x, y, T1)
    edges = dissimilarity(
        gradient_magnitude(first[:, :1], SCHARR), gradient_magnitude(second[:, :1], SCHARR), T2
    )
    missing = _either(_either(phase, edges), _missing_chroma(first[:, 1:], second[:, 1:]))
    weight = torch.maximum(x, y)
    total = weight.flatten(1).sum(1) + torch.finfo(weight.dtype).eps
    return (missing * weight).flatten(1).sum(1) / total


def _channels(images: Images) -> Images:
    """Y, I and Q for pixels in [0, 255], at a shorter side of about 256."""
    factor = shrink_factor(images)
    return 255 * yiq(F.avg_pool2d(images, factor) if factor > 1 else images)


def _either(first: Features, second: Features) -> Features:
    """1 - (1 - a)(1 - b)."""
    return first + second - first * second


def _missing_chroma(reference: Features, candidate: Features) -> Features:
    """1 - |S_I S_Q|^lambda, precise near 0."""
    i = dissimilarity(reference[:, :1], candidate[:, :1], T3)
    q = dissimilarity(reference[:, 1:], candidate[:, 1:], T4)
    missing = _either(i, q)
    small = missing < 0.5
    near = torch.log1p(-torch.where(small, missing, 0))
    far = torch.log((1 - missing).abs().clamp_min(FLOOR))
    return -torch.expm1(LAMBDA * torch.where(small, near, far))


class FSIM(nn.Module):
    """FSIMc as a distance, ``1 - FSIMc``. See :func:`fsim_distance`."""

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return fsim_distance(reference, candidate)
