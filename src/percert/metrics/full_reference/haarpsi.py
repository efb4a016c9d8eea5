"""Haar wavelet-based perceptual similarity (HaarPSI), as a distance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.full_reference.similarity import dissimilarity, halve, yiq
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Features, Images, Vector

#: C, for pixels in [0, 255], and alpha of the paper.
CONSTANT = 30.0
ALPHA = 4.2
SCALES = 3
#: At half the size, the coarsest wavelet must fit.
SMALLEST_SIDE = 2 ** (SCALES + 1)


class HaarPSI(Metric):
    """Haar wavelet-based perceptual similarity as a distance: 0 at identity, at most 1.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 16 pixels, and
    gives ``(n,)``, ``1 - HaarPSI``. At half the size: how alike the responses to the two finest
    Haar wavelets are, horizontally and vertically, and the two channels of chroma, weighted by the
    third. Computed from what is missing to 1, so that it is exactly 0 at identity and precise
    beside it. Raises ``ValueError`` where the shapes differ or a side is too short (Reisenhofer,
    Bosse, Kutyniok and Wiegand, Signal Processing: Image Communication 2018).

    >>> HaarPSI()(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return haarpsi_distance(reference, candidate)


def haarpsi(reference: Images, candidate: Images) -> Vector:
    """HaarPSI of each pair, ``(n,)`` in [0, 1], 1 for equal images: see :class:`HaarPSI`.

    >>> haarpsi(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.])
    """
    return 1 - haarpsi_distance(reference, candidate)


def haarpsi_distance(reference: Images, candidate: Images) -> Vector:
    """``1 - HaarPSI`` of each pair, ``(n,)``: see :class:`HaarPSI`."""
    reference, candidate = check_pair(
        reference, candidate, smallest_side=SMALLEST_SIDE, name="haarpsi"
    )
    first, second = halve(255 * yiq(reference)), halve(255 * yiq(candidate))
    x, y = _wavelets(first[:, :1]).abs(), _wavelets(second[:, :1]).abs()
    fine = dissimilarity(x[:, :4], y[:, :4], CONSTANT)
    chroma = dissimilarity(_average(first[:, 1:]), _average(second[:, 1:]), CONSTANT)
    missing = torch.cat(((fine[:, :2] + fine[:, 2:]) / 2, chroma.mean(1, keepdim=True)), 1)
    weights = torch.maximum(x[:, 4:], y[:, 4:])
    weights = torch.cat((weights, weights.mean(1, keepdim=True)), 1)

    # HaarPSI = (logit(mean sigmoid(alpha s)) / alpha)^2, where s = 1 - missing. With u the mean of
    # sigmoid(alpha) - sigmoid(alpha s), all of it is written as a distance from the top.
    top = 1 / (1 + math.exp(-ALPHA))
    lost = top * torch.sigmoid(ALPHA * (missing - 1)) * -torch.expm1(-ALPHA * missing)
    total = weights.flatten(1).sum(1) + torch.finfo(weights.dtype).eps
    u = (weights * lost).flatten(1).sum(1) / total
    fall = (torch.log1p(u / (1 - top)) - torch.log1p(-u / top)) / ALPHA
    return fall * (2 - fall)


def _wavelets(plane: Features) -> Features:
    """Responses to three Haar wavelets, each vertical and horizontal, ``(n, 6, h, w)``.

    Zeros beyond the border. The wavelet of scale j spans 2^j pixels and is scaled by 2^-j.
    """
    responses = []
    for scale in range(1, SCALES + 1):
        size = 2**scale
        before, after = size // 2 - 1, size // 2
        padded = F.pad(plane, (before, after, before, after))
        signs = torch.ones(size, size)
        signs[size // 2 :] = -1
        kernels = (torch.stack((signs, signs.T)).unsqueeze(1) / size).to(plane)
        responses.append(F.conv2d(padded, kernels))
    return torch.cat(responses, 1)


def _average(chroma: Features) -> Features:
    """The absolute mean of each pixel with its neighbours on the right and below."""
    return F.avg_pool2d(F.pad(chroma, (0, 1, 0, 1)), 2, stride=1).abs()
