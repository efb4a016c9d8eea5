"""Structural similarity at one scale (SSIM) and at five (MS-SSIM), as distances."""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.metric import Metric, check_pair
from percert.tensors import Features, Images, Vector

#: The window: a Gaussian of standard deviation 1.5 on 11 x 11 pixels.
WINDOW = 11
SIGMA = 1.5
#: (K1 L)^2 and (K2 L)^2 of the paper, for pixels in [0, 1].
C1 = 0.01**2
C2 = 0.03**2


class SSIM(Metric):
    """Structural similarity as a distance, ``1 - ssim``: 0 at identity, at most 2.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 11 pixels, and
    gives ``(n,)``. With Gaussian windows of standard deviation 1.5 on 11 x 11 pixels, ssim is
    (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)), C1 = 0.01^2 and
    C2 = 0.03^2, averaged over all windows that lie wholly inside the image and over the channels
    (Wang et al., IEEE TIP 2004). Computed without the cancellation of 1 - ssim. Raises
    ``ValueError`` where the shapes differ or a side is too short.

    >>> black, white = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    >>> print(f"{SSIM()(black, white).item():.4f}")  # 1 - C1 / (1 + C1)
    0.9999
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ssim_distance(reference, candidate)


def ssim(reference: Images, candidate: Images) -> Vector:
    """The mean structural similarity of each pair, ``(n,)`` in [-1, 1], 1 for equal images.

    See :class:`SSIM`, which is 1 less this.

    >>> ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.])
    """
    return 1 - ssim_distance(reference, candidate)


def ssim_distance(reference: Images, candidate: Images) -> Vector:
    """``1 - ssim``, shape ``(n,)``, in [0, 2], without that difference's cancellation."""
    reference, candidate = check_pair(reference, candidate, smallest_side=WINDOW, name="ssim")
    luminance, structure = losses(reference, candidate)
    return (luminance + structure - luminance * structure).flatten(1).mean(1)


def losses(reference: Features, candidate: Features) -> tuple[Features, Features]:
    """What is missing to 1 in SSIM's luminance term and in its contrast-structure term.

    1 - l = (m_x - m_y)^2 / (m_x^2 + m_y^2 + C1) and 1 - cs = var(x - y) / (s_x^2 + s_y^2 + C2), one
    value per window that fits: ``(n, c, h - 10, w - 10)``. Written with the difference x - y, both
    are exactly 0 at identity and precise near it.
    """
    difference = reference - candidate
    squares = reference**2 + candidate**2
    mean_x = blur(reference)
    mean_d, square_d, square = blur(torch.cat((difference, difference**2, squares))).chunk(3)
    powers = mean_x**2 + (mean_x - mean_d) ** 2
    luminance = mean_d**2 / (powers + C1)
    structure = (square_d - mean_d**2) / (square - powers + C2)
    return luminance, structure


def blur(images: Features) -> Features:
    """The Gaussian average of each 11 x 11 window that fits, ``(n, c, h - 10, w - 10)``."""
    return separable(images, gaussian(images))


def gaussian(like: Tensor) -> Tensor:
    """The window's 11 weights along one side, which sum to 1, in the precision of ``like``."""
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def separable(images: Features, taps: Tensor, padding: int = 0) -> Features:
    """Each channel filtered by ``taps`` along its columns and along its rows.

    ``padding`` zeros are taken beyond each border; the window's 11 taps with a padding of 10 are
    the transpose of :func:`blur`.
    """
    n, c, h, w = images.shape
    if n * c == 0:
        lost = len(taps) - 1 - 2 * padding
        return images.new_empty(n, c, h - lost, w - lost) + images.sum()
    # One group a channel: torch has fast code for that, and not for many images of one channel.
    planes = images.reshape(1, n * c, h, w)
    column = taps.view(1, 1, -1, 1).expand(n * c, 1, -1, 1)
    rows = F.conv2d(planes, column, padding=(padding, 0), groups=n * c)
    windows = F.conv2d(rows, column.mT, padding=(0, padding), groups=n * c)
    return windows.view(n, c, *windows.shape[2:])


#: The exponent of each scale, finest first (Wang, Simoncelli, Bovik 2003).
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: The coarsest scale must still hold one window: (11 - 1) 2^4 + 1.
SMALLEST_SIDE = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1
#: The least value of a term. Below it a term's fractional power has no usable gradient.
FLOOR = 1e-6


class MSSSIM(Metric):
    """Structural similarity over five scales as a distance: 0 at identity, at most 1.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 161 pixels, and
    gives ``(n,)``: 1 less the product over five scales of the mean contrast-structure term, of the
    mean SSIM at the coarsest, each to its weight, averaged over the channels. From scale to scale
    2 x 2 pixels are averaged; an odd side repeats its first row or column (Wang, Simoncelli and
    Bovik, Asilomar 2003). Raises ``ValueError`` where the shapes differ or a side is too short.

    >>> MSSSIM()(torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ms_ssim_distance(reference, candidate)


def ms_ssim(reference: Images, candidate: Images) -> Vector:
    """The multi-scale structural similarity of each pair, ``(n,)`` in [0, 1], 1 for equal images.

    See :class:`MSSSIM`, which is 1 less this.

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
