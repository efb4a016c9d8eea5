"""Errors of pixels: l1, l2, linf, mean squared error, PSNR, and the mean of CIEDE2000.

Plain lengths of the difference: l1, l2 and linf.

The mean squared error, a metric, and PSNR, the same in decibels, which is none.

CIEDE2000 as a distance of images: the colour difference of the average pixel.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from percert.check import check_choice
from percert.color import ciede2000, srgb_to_lab
from percert.color.colorimetry import safe_sqrt
from percert.metrics.pair import check_pair
from percert.tensors import Images, Vector

Norm: TypeAlias = Literal["l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")


def lp_distance(reference: Images, candidate: Images, norm: Norm) -> Vector:
    """The length of ``candidate - reference`` over all pixels and channels, shape ``(n,)``.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1]: l1 is a sum, not a mean, so l1 and l2 grow
    with the image's size. Where equal pixels make a kink its gradient is 0; that of linf is shared
    by all the pixels that are furthest. Raises ``ValueError`` where the shapes differ.

    >>> import torch
    >>> black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    >>> [round(lp_distance(black, grey, norm).item(), 4) for norm in ("l1", "l2", "linf")]
    [6.0, 1.7321, 0.5]
    """
    check_choice(norm, NORMS, "norm")
    reference, candidate = check_pair(reference, candidate)
    difference = (candidate - reference).flatten(1)
    if norm == "l1":
        return difference.abs().sum(1)
    if norm == "l2":
        return safe_sqrt(difference.square().sum(1))
    return difference.abs().amax(1)


class Lp(nn.Module):
    """:func:`lp_distance` with one norm."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm: Norm = norm

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return lp_distance(reference, candidate, self.norm)


def mean_squared_error(reference: Images, candidate: Images) -> Vector:
    """The mean over pixels and channels of the squared difference, shape ``(n,)``, in [0, 1].

    Both batches have shape ``(n, 3, h, w)``, in [0, 1]. Raises ``ValueError`` where the shapes
    differ.
    """
    reference, candidate = check_pair(reference, candidate)
    return (reference - candidate).square().flatten(1).mean(1)


def psnr(reference: Images, candidate: Images) -> Vector:
    """Peak signal-to-noise ratio in decibels, ``-10 log10(MSE)``, infinite for equal images.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1]; returns ``(n,)``. Higher is closer, so this
    is no :class:`~percert.metrics.metric.Metric`: ``mse`` is the metric of the same order. The l2
    length r of the difference gives the same number as ``20 log10(sqrt(3 h w) / r)``. Raises
    ``ValueError`` where the shapes differ.

    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> psnr(grey, grey + 0.1)
    tensor([20.0000])
    """
    return -10 * torch.log10(mean_squared_error(reference, candidate))


class MSE(nn.Module):
    """:func:`mean_squared_error` as a metric: 0 at identity, at most 1, differentiable everywhere.

    >>> MSE()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    tensor([1.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return mean_squared_error(reference, candidate)


class PSNR(nn.Module):
    """:func:`psnr`, for the columns of reports; no metric, see there."""

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return psnr(reference, candidate)


def ciede2000_distance(reference: Images, candidate: Images) -> Vector:
    """The mean over all pixels of CIEDE2000, shape ``(n,)``: about 1 is just seen on flat patches.

    Both batches have shape ``(n, 3, h, w)``, sRGB in [0, 1]. Pixel by pixel, without any blur for
    the eye. Raises ``ValueError`` where the shapes differ (Sharma, Wu and Dalal 2005).

    >>> import torch
    >>> ciede2000_distance(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).round()
    tensor([100.])
    """
    reference, candidate = check_pair(reference, candidate)
    difference = ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate))
    return difference.flatten(1).mean(1)


class CIEDE2000(nn.Module):
    """The mean CIEDE2000 over pixels: 0 at identity, 100 between black and white.

    Steepest at identity, where it has a kink as |d| has: its gradient is 0 there, finite elsewhere.
    See :func:`ciede2000_distance`.
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ciede2000_distance(reference, candidate)
