"""PSNR, and the mean squared error that stands for it as a distance."""

import torch
from torch import Tensor, nn

from percert.metrics.pair import check_pair
from percert.tensors import Images, Vector


def psnr_db(reference: Images, candidate: Images) -> Vector:
    """Peak signal-to-noise ratio in decibels, ``-10 log10(MSE)``, infinite for equal images.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1]; returns ``(n,)``. Higher is closer. The l2
    length r of the difference gives the same number as ``20 log10(sqrt(3 h w) / r)``. Raises
    ``ValueError`` where the shapes differ.

    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> psnr_db(grey, grey + 0.1)
    tensor([20.0000])
    """
    return -10 * torch.log10(mean_squared_error(reference, candidate))


def mean_squared_error(reference: Images, candidate: Images) -> Vector:
    """The mean over pixels and channels of the squared difference, shape ``(n,)``, in [0, 1]."""
    reference, candidate = check_pair(reference, candidate)
    return (reference - candidate).square().flatten(1).mean(1)


class PSNR(nn.Module):
    """PSNR as a distance: ``10^(-PSNR / 10)``, which is the mean squared error.

    PSNR itself is infinite at identity and falls with distance. This is the same order turned
    round: 0 at identity, at most 1, and differentiable everywhere. :func:`psnr_db` gives decibels.

    >>> PSNR()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    tensor([1.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return mean_squared_error(reference, candidate)
