"""Multi-scale structural similarity (MS-SSIM), as a distance."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.metrics.pair import check_pair
from percert.metrics.ssim import WINDOW, losses
from percert.tensors import Features, Images, Vector

#: The exponent of each scale, finest first (Wang, Simoncelli, Bovik 2003).
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: The coarsest scale must still hold one window: (11 - 1) 2^4 + 1.
SMALLEST_SIDE = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1
#: The least value of a term. Below it a term's fractional power has no usable gradient.
FLOOR = 1e-6


def ms_ssim(reference: Images, candidate: Images) -> Vector:
    """The multi-scale structural similarity of each image pair, in [0, 1], 1 for equal images.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1], sides of at least 161 pixels; returns
    ``(n,)``. The product over five scales of the mean contrast-structure term, of the mean SSIM at
    the coarsest, each to its weight, averaged over the channels. From scale to scale 2 x 2 pixels
    are averaged; an odd side repeats its first row or column. Raises ``ValueError`` where the
    shapes differ or a side is too short (Wang, Simoncelli, Bovik 2003).

    >>> ms_ssim(torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161))
    tensor([1.])
    """
    return 1 - ms_ssim_distance(reference, candidate)


def ms_ssim_distance(reference: Images, candidate: Images) -> Vector:
    """``1 - ms_ssim``, shape ``(n,)``, in [0, 1]: precise near identity, where it is exactly 0."""
    reference, candidate = check_pair(
        reference, candidate, smallest_side=SMALLEST_SIDE, name="ms-ssim"
    )
    logarithm = reference.new_zeros(reference.shape[:2])
    for scale, weight in enumerate(WEIGHTS):
        if scale > 0:
            reference, candidate = halve(reference), halve(candidate)
        luminance, loss = losses(reference, candidate)
        if scale == len(WEIGHTS) - 1:
            loss = luminance + loss - luminance * loss
        missing = loss.mean((2, 3)).clamp_max(1 - FLOOR)
        logarithm = logarithm + weight * torch.log1p(-missing)
    return 0 - torch.expm1(logarithm).mean(1)  # not -expm1, which gives -0.0 at identity


def halve(images: Features) -> Features:
    """Averages 2 x 2 pixels, ``(n, c, ceil(h / 2), ceil(w / 2))``."""
    odd_rows, odd_columns = images.shape[2] % 2, images.shape[3] % 2
    if odd_rows or odd_columns:
        images = F.pad(images, (odd_columns, 0, odd_rows, 0), mode="replicate")
    return F.avg_pool2d(images, 2)


class MSSSIM(nn.Module):
    """MS-SSIM as a distance, ``1 - ms_ssim``: 0 at identity, at most 1. See :func:`ms_ssim`.

    >>> MSSSIM()(torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ms_ssim_distance(reference, candidate)
