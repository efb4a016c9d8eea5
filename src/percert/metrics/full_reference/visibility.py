"""How visible a change is where it is: its contrast in octaves, masked by the picture's own.

The standard model of contrast masking, of few parts (Legge and Foley, JOSA 1980; Watson and
Solomon, JOSA A 1997): bands of one octave, in luminance and two opponent colours; in each the
energy of the change over the energy that masks it; all pooled with a high power, for observers
find the place where a change shows. Texture hides what a smooth sky shows: that is the masking.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.color.colorimetry import mix
from percert.metrics.full_reference.gradient_deviation import LHM
from percert.metrics.full_reference.ssim import separable
from percert.metrics.metric import check_pair
from percert.tensors import Features, Images, Vector

#: Octaves, finest first; what is left below them is the last, coarse part.
OCTAVES = 4
#: The contrast that is just seen where nothing masks it, of luminance and of either colour.
THRESHOLDS = (0.01, 0.02, 0.02)
#: The same of the coarse part, in which nothing masks: a guess, for no answer was of such a change.
COARSE_THRESHOLD = 0.05
#: Standard deviations in pixels of each octave: of the filter, and of the place over which energy
#: is taken together.
FILTER, PLACE = 1.0, 2.0
#: The power with which energies are pooled: 6 in contrast.
POOLING = 3.0
SMALLEST_SIDE = 16


def visibility(reference: Images, candidate: Images) -> Vector:
    """The visibility of each pair's change, ``(n,)``: 0 at identity, not bounded.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 16 pixels. About
    0.2 where half of the observers see it. Symmetric, and quadratic in a small change. Raises
    ``ValueError`` where the shapes differ or a side is too short.

    >>> grey = torch.full((1, 3, 32, 32), 0.5)
    >>> dot = grey.clone()
    >>> dot[:, :, 16, 16] = 1.0
    >>> bool(visibility(grey, dot) > 0.2), visibility(grey, grey).item()
    (True, 0.0)
    """
    parts = _parts(reference, candidate)
    return _root(torch.stack([part.mean((1, 2, 3)) for part in parts]).sum(0))


def visibility_map(reference: Images, candidate: Images) -> Features:
    """Where the change of each pair shows, ``(n, 1, h, w)``: the visibility of each place alone.

    Its power mean over the picture is :func:`visibility`, but for rounding at odd sides.
    """
    height, width = reference.shape[2:]
    total = torch.zeros_like(reference[:, :1])
    for part in _parts(reference, candidate):
        wide = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)
        total = total + wide
    return _root(total)


def sensitivity(images: Images) -> Features:
    """How visible a small change is at each pixel, ``(n, 3, h, w)``: of luminance, either colour.

    Of a change of the finest octave, to first order in its energy: 1 over what masks it, averaged
    over the place in which energies are taken together. Times the energy of the change and added
    up, that orders the changes of different photographs, too, as people do.

    >>> smooth, rough = torch.full((1, 3, 32, 32), 0.5), torch.rand(1, 3, 32, 32)
    >>> bool((sensitivity(smooth) > sensitivity(rough)).all())
    True
    """
    threshold = images.new_tensor(THRESHOLDS).view(1, 3, 1, 1) ** 2
    fine, _ = _split(mix(images, torch.tensor(LHM, dtype=torch.float64)))
    return _blur(1 / (threshold + _blur(fine**2, PLACE)), PLACE)


def _parts(reference: Images, candidate: Images) -> list[Features]:
    """The pooled energy of each octave and of the coarse part, ``(n, 1, h', w')`` each."""
    reference, candidate = check_pair(
        reference, candidate, smallest_side=SMALLEST_SIDE, name="visibility"
    )
    colours = torch.tensor(LHM, dtype=torch.float64)
    before, after, change = (
        mix(images, colours) for images in (reference, candidate, candidate - reference)
    )
    threshold = reference.new_tensor(THRESHOLDS).view(1, 3, 1, 1) ** 2
    parts = []
    for _ in range(OCTAVES):
        (fine_before, before), (fine_after, after), (fine, change) = map(
            _split, (before, after, change)
        )
        masking = (_blur(fine_before**2, PLACE) + _blur(fine_after**2, PLACE)) / 2
        seen = _blur(fine**2, PLACE) / (threshold + masking)
        parts.append((seen**POOLING).sum(1, keepdim=True))
    coarse = (change / COARSE_THRESHOLD) ** 2
    return [*parts, (coarse**POOLING).sum(1, keepdim=True)]


def _split(planes: Features) -> tuple[Features, Features]:
    """An octave, and what is coarser at half the size."""
    smooth = _blur(planes, FILTER)
    return planes - smooth, smooth[..., ::2, ::2]


def _blur(planes: Features, sigma: float) -> Features:
    """The Gaussian average around every pixel, the border repeated."""
    reach = round(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=planes.dtype, device=planes.device)
    taps = torch.exp(-(offsets**2) / (2 * sigma**2))
    padded = F.pad(planes, (reach,) * 4, mode="replicate")
    return separable(padded, taps / taps.sum())


def _root(pooled: Tensor) -> Tensor:
    """The root of what was pooled; its gradient is 0 where there is nothing."""
    there = pooled > 0
    return torch.where(there, torch.where(there, pooled, 1) ** (1 / POOLING), 0)
