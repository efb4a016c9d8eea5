"""Errors of pixels: l1, l2, linf, mean squared error, PSNR, and the mean of CIEDE2000."""

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from percert.check import check_choice
from percert.color import ciede2000, srgb_to_lab
from percert.color.colorimetry import safe_sqrt
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Images, Vector

Norm: TypeAlias = Literal["l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")


class Lp(Metric):
    """The l1, l2 or linf length of the difference, over all pixels and channels.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape and gives ``(n,)``. l1 is a sum, not a
    mean, so l1 and l2 grow with the image's size; ``"l2"`` is the length that every radius and eps
    of percert is one of. Where equal pixels make a kink its gradient is 0; that of linf is shared
    by all the pixels that are furthest. Raises ``ValueError`` where the shapes differ.

    >>> black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    >>> [round(Lp(norm)(black, grey).item(), 4) for norm in ("l1", "l2", "linf")]
    [6.0, 1.7321, 0.5]
    """

    def __init__(self, norm: Norm = "l2") -> None:
        super().__init__()
        check_choice(norm, NORMS, "norm")
        self.norm: Norm = norm

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return lp_distance(reference, candidate, self.norm)


def lp_distance(reference: Images, candidate: Images, norm: Norm) -> Vector:
    """The length of ``candidate - reference``, ``(n,)``: see :class:`Lp`."""
    check_choice(norm, NORMS, "norm")
    reference, candidate = check_pair(reference, candidate)
    difference = (candidate - reference).flatten(1)
    if norm == "l1":
        return difference.abs().sum(1)
    if norm == "l2":
        return safe_sqrt(difference.square().sum(1))
    return difference.abs().amax(1)


class MSE(Metric):
    """The mean over pixels and channels of the squared difference: 0 at identity, at most 1.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape and gives ``(n,)``. Differentiable
    everywhere. Raises ``ValueError`` where the shapes differ.

    >>> MSE()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    tensor([1.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return mean_squared_error(reference, candidate)


def mean_squared_error(reference: Images, candidate: Images) -> Vector:
    """The mean squared error of each pair, ``(n,)``: see :class:`MSE`."""
    reference, candidate = check_pair(reference, candidate)
    return (reference - candidate).square().flatten(1).mean(1)


class PSNR(nn.Module):
    """Peak signal-to-noise ratio in decibels, ``-10 log10(MSE)``, infinite for equal images.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape and gives ``(n,)``: the peak is 1.
    Higher is closer, so this is no :class:`~percert.metrics.metric.Metric`; :class:`MSE` is the
    metric of the same order. The l2 length r of the difference gives the same number as
    ``20 log10(sqrt(3 h w) / r)``. Raises ``ValueError`` where the shapes differ.

    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> PSNR()(grey, grey + 0.1)
    tensor([20.0000])
    """

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, reference: Tensor, candidate: Tensor, /) -> Tensor: ...

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return psnr(reference, candidate)


def psnr(reference: Images, candidate: Images) -> Vector:
    """The peak signal-to-noise ratio of each pair in decibels, ``(n,)``: see :class:`PSNR`.

    >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
    tensor([20.])
    """
    return -10 * torch.log10(mean_squared_error(reference, candidate))


class CIEDE2000(Metric):
    """The colour difference CIEDE2000, its mean over pixels: 0 at identity, at most about 120.

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape and gives ``(n,)``. About 1 is
    just seen on flat patches, 100 is from black to white. Pixel by pixel, without any blur for the
    eye. Steepest at identity, where it has a kink as |d| has: its gradient is 0 there, finite
    elsewhere. Raises ``ValueError`` where the shapes differ (Sharma, Wu and Dalal 2005).

    >>> CIEDE2000()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).round()
    tensor([100.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ciede2000_distance(reference, candidate)


def ciede2000_distance(reference: Images, candidate: Images) -> Vector:
    """The mean CIEDE2000 of each pair, ``(n,)``: see :class:`CIEDE2000`."""
    reference, candidate = check_pair(reference, candidate)
    difference = ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate))
    return difference.flatten(1).mean(1)
