"""The mean squared error, a metric, and PSNR, the same in decibels, which is none."""

import torch
from torch import Tensor, nn

from percert.metrics.pair import check_pair
from percert.tensors import Images, Vector


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
