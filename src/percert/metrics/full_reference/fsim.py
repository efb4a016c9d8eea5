"""Feature similarity (FSIMc) as a distance, with the phase congruency in it."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.full_reference.similarity import (
    SCHARR,
    dissimilarity,
    gradient_magnitude,
    shrink_factor,
    yiq,
)
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Features, Images, Vector

SCALES = 4
ORIENTATIONS = 4
#: The shortest wavelength in pixels, each scale's multiple of it, and the filters' two widths.
SHORTEST = 6
MULTIPLE = 2
BANDWIDTH = 0.55
ANGULAR = 1.2
#: The low-pass that keeps the corners of the spectrum out: where it falls to half, how steeply.
CUTOFF = 0.45
STEEPNESS = 15
#: Deviations of the noise above its mean at which a response counts, and Kovesi's correction.
DEVIATIONS = 2.0
CORRECTION = 1.7
#: Below this sum of amplitudes, on a scale of 0 to 255, there is only rounding.
SILENCE = 1e-4


def phase_congruency(plane: Features) -> Features:
    """Phase congruency of ``(n, 1, h, w)``, values in 0 to 255: the same shape, in [0, 1].

    Kovesi's second measure with 4 scales and 4 orientations, less a threshold for noise estimated
    from each orientation's finest scale, with the parameters that FSIM takes. 0 where the image is
    flat (Kovesi, Image features from phase congruency, Videre 1999).

    >>> step = torch.zeros(1, 1, 64, 64)
    >>> step[..., 32:] = 255
    >>> line = phase_congruency(step)[0, 0, 32]
    >>> bool(line[31] > 0.7), bool(line[23] < 0.3)
    (True, True)
    """
    n, _, h, w = plane.shape
    if n == 0:  # which FFTs refuse
        return plane
    filters, threshold = log_gabor(h, w, plane.dtype, plane.device)
    spectrum = torch.fft.fft2(plane).unsqueeze(2)
    waves = torch.fft.ifft2(spectrum * filters)  # (n, orientations, scales, h, w), even + i odd
    amplitudes = waves.abs()
    total = waves.sum(2, keepdim=True)
    # Sum over scales of A (cos of the deviation from the mean phase, less its absolute sine).
    towards = total.conj() / total.abs().clamp_min(torch.finfo(plane.dtype).eps)
    turned = torch.view_as_real(waves * towards)
    energy = turned[..., 0].sum(2) - turned[..., 1].abs().sum(2)
    noise = amplitudes[:, :, 0].flatten(2).median(2).values * threshold
    heard = (energy - noise.view(n, ORIENTATIONS, 1, 1)).relu().sum(1, keepdim=True)
    congruency: Tensor = heard / (amplitudes.sum((1, 2)).unsqueeze(1) + SILENCE)
    return congruency


@lru_cache(maxsize=4)
def log_gabor(
    height: int, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The filters in the frequency plane, ``(orientations, scales, h, w)``, zero frequency first.

    And for each orientation by how much the median amplitude of the finest scale is to be
    multiplied to be the threshold of noise, ``(orientations,)``.
    """
    rows, columns = _frequencies(height).view(-1, 1), _frequencies(width).view(1, -1)
    radius = torch.sqrt(rows**2 + columns**2)
    angle = torch.atan2(-columns.expand_as(radius), rows.expand_as(radius))
    low = 1 / (1 + (radius / CUTOFF) ** (2 * STEEPNESS))
    logarithm = torch.log(torch.where(radius > 0, radius, 1))
    bands = []
    for scale in range(SCALES):
        centre = -math.log(SHORTEST * MULTIPLE**scale)
        band = low * torch.exp(-((logarithm - centre) ** 2) / (2 * math.log(BANDWIDTH) ** 2))
        bands.append(torch.where(radius > 0, band, 0))
    width_of_angle = math.pi / (ORIENTATIONS * ANGULAR)
    fans = []
    for orientation in range(ORIENTATIONS):
        turned = angle - orientation * math.pi / ORIENTATIONS
        away = torch.atan2(torch.sin(turned), torch.cos(turned))
        fans.append(torch.exp(-(away**2) / (2 * width_of_angle**2)))
    filters = torch.stack(fans).unsqueeze(1) * torch.stack(bands)

    # The noise is taken as white, so its energy in the sum of scales follows from the filters: the
    # energy is a Rayleigh variable, whose scale is tau times the median at the finest scale.
    pulses = torch.fft.ifft2(filters).real * math.sqrt(height * width)
    finest = filters[:, 0].square().sum((1, 2))
    # sum A_i^2 + 2 sum over pairs A_i A_j is the square of the sum.
    tau = torch.sqrt(pulses.sum(1).square().sum((1, 2)) / (math.log(2) * finest))
    threshold = tau * (math.sqrt(math.pi / 2) + DEVIATIONS * math.sqrt(2 - math.pi / 2))
    return filters.to(device, dtype), (threshold / CORRECTION).to(device, dtype)


def _frequencies(size: int) -> Tensor:
    """Cycles a pixel, zero first. An odd side counts to exactly 1/2, as Kovesi has it."""
    if size % 2:
        steps = torch.arange(-(size - 1) // 2, size // 2 + 1, dtype=torch.float64) / (size - 1)
    else:
        steps = torch.arange(-size // 2, size // 2, dtype=torch.float64) / size
    return steps.roll(-(size // 2))


#: T1 to T4 of the paper, for pixels in [0, 255], and lambda, the weight of chroma.
T1, T2, T3, T4 = 0.85, 160.0, 200.0, 200.0
LAMBDA = 0.03
#: Below this, |S_I S_Q|^lambda has no usable gradient (its value there is 0.58 and less).
FLOOR = 1e-8
SMALLEST_SIDE = 16


class FSIM(Metric):
    """Feature similarity with colour as a distance, ``1 - FSIMc``: 0 at identity, at most 1.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 16 pixels, and
    gives ``(n,)``. FSIMc is how alike phase congruency, Scharr gradients and chroma are at each
    pixel, averaged with the larger of the two phase congruencies as the weight; where S_I S_Q is
    negative, its absolute value is taken. Computed from what is missing to 1, so that it is exactly
    0 at identity and precise beside it. Two flat images are at 0, whatever their colour. Raises
    ``ValueError`` where the shapes differ or a side is too short (Zhang, Zhang, Mou and Zhang, IEEE
    TIP 2011).

    >>> FSIM()(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return fsim_distance(reference, candidate)


def fsim(reference: Images, candidate: Images) -> Vector:
    """FSIMc of each pair, ``(n,)`` in [0, 1], 1 for equal images: see :class:`FSIM`.

    >>> fsim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.])
    """
    return 1 - fsim_distance(reference, candidate)


def fsim_distance(reference: Images, candidate: Images) -> Vector:
    """``1 - FSIMc`` of each pair, ``(n,)``: see :class:`FSIM`."""
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
