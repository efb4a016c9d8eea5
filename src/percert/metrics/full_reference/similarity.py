"""The parts of GMSD, MDSI, HaarPSI and FSIM: dissimilarity maps, gradients, smaller images.

All are written with what is missing to 1 instead of a similarity near 1: exactly 0 at identity, and
precise beside it in float32, where 1 - similarity would be a multiple of 6e-8. Roots have the
gradient 0 where they have none.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.color.colorimetry import mix, safe_sqrt
from percert.tensors import Features, Images

#: Red, green, blue to Y, I, Q.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
#: The smoothing across a 3 x 3 gradient: sides and centre, which sum to 1.
PREWITT = (1 / 3, 1 / 3)
SCHARR = (3 / 16, 10 / 16)


def dissimilarity(first: Tensor, second: Tensor, constant: float) -> Tensor:
    """``1 - (2 a b + c) / (a^2 + b^2 + c)``, as ``(a - b)^2 / (a^2 + b^2 + c)``.

    >>> dissimilarity(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), 1.0)
    tensor([0.0000, 0.5000])
    """
    return (first - second) ** 2 / (first**2 + second**2 + constant)


def luma(images: Images) -> Features:
    """The Y of YIQ, ``(n, 1, h, w)``, on the images' own scale."""
    return mix(images, torch.tensor(YIQ[:1], dtype=torch.float64))


def yiq(images: Images) -> Images:
    """Y, I and Q, ``(n, 3, h, w)``, on the images' own scale.

    >>> yiq(torch.ones(1, 3, 1, 1)).flatten().round(decimals=2).abs()
    tensor([1., 0., 0.])
    """
    return mix(images, torch.tensor(YIQ, dtype=torch.float64))


def gradient_magnitude(plane: Features, smoothing: tuple[float, float]) -> Features:
    """The length of the 3 x 3 gradient of ``(n, 1, h, w)``, zeros beyond the border; same shape.

    Both directions are differences over two pixels, smoothed across by ``smoothing``.

    >>> ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    >>> gradient_magnitude(ramp, PREWITT)[0, 0, 1, 1:3].round(decimals=4)
    tensor([2., 2.])
    """
    side, centre = smoothing
    smooth = torch.tensor([side, centre, side], dtype=torch.float64)
    across = smooth.outer(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))
    kernels = torch.stack((across, across.T)).unsqueeze(1).to(plane)
    both = F.conv2d(plane, kernels, padding=1)
    return safe_sqrt(both.square().sum(1, keepdim=True))


def halve(images: Features) -> Features:
    """Averages 2 x 2 pixels; where a side is odd, zeros are added below and on the right first."""
    odd = max(images.shape[2] % 2, images.shape[3] % 2)
    return F.avg_pool2d(F.pad(images, (0, odd, 0, odd)), 2)


def shrink_factor(images: Tensor) -> int:
    """By how much FSIM and MDSI shrink an image: to a shorter side of about 256.

    >>> [shrink_factor(torch.empty(1, 3, side, 2000)) for side in (100, 299, 512)]
    [1, 1, 2]
    """
    return max(1, round(min(images.shape[2:]) / 256))
