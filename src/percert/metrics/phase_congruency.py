"""Phase congruency: how far the frequencies of an image agree that there is an edge."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from percert.tensors import Features

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
