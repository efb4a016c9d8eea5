"""How far SSIM can move while one of its two images does: a constant from the other one.

SSIM has no useful constant for all pairs, since where both images are flat it divides by little.
With one image kept, it has. Of every window let |a|^2 be the kept image's squared mean, or its
variance, and C the constant beside it. Either of the window's two terms is then a function of a
vector b of the other image, f(b) = (2 a.b + C) / D with D = |a|^2 + |b|^2 + C, and

    |grad f|^2 = 4 (|a|^2 + f C - f^2 (|a|^2 + C)) / D^2
              <= (4 |a|^2 + C^2 / (|a|^2 + C)) / (|a|^2 + C)^2 = g(|a|^2, C)^2,

the largest over f, and at b = 0 over D. Neither term exceeds 1, their directions within a window
are orthogonal under its weights, and a pixel's weights in all N windows sum to 1 at most, so that

    |grad SSIM| <= sqrt(sum over windows of g(m^2, C1)^2 + g(s^2, C2)^2) / N.
"""

import torch
from torch import Tensor

from percert.certify.pixel_intervals import PixelInterval
from percert.check import check_budget, check_images
from percert.metrics.full_reference.ssim import C1, C2, WINDOW, blur, ssim_distance
from percert.tensors import Images, Vector

#: More than what rounding in float64 takes from a sum over all windows.
ROUNDING = 1e-9


def ssim_constant(reference: Images) -> Vector:
    """The constant of ``1 - ssim`` in its other image, ``(n,)`` float64, for each ``reference``.

    ``|d(reference, y) - d(reference, z)| <= constant * |y - z|`` in l2, for all images y and z of
    its size, within [0, 1] or not. Takes ``(n, 3, h, w)``, sides of at least 11 pixels; raises
    ``ValueError`` otherwise. Textured, bright pictures have small ones; a black one has the
    largest, 105 / sqrt(windows and channels).

    >>> print(f"{ssim_constant(torch.zeros(1, 3, 110, 110)).item():.3f}")
    0.609
    """
    check_images(reference, "reference")
    if min(reference.shape[2:]) < WINDOW:
        raise ValueError(
            f"reference: expected sides of at least {WINDOW} pixels, found "
            f"{tuple(reference.shape[2:])}"
        )
    pixels = reference.double()
    mean, square = blur(torch.cat((pixels, pixels**2))).chunk(2)
    powers = mean**2
    squares = _steepest(powers, C1) + _steepest((square - powers).clamp_min(0), C2)
    windows = squares[0].numel() if len(squares) else 1
    constant: Vector = squares.flatten(1).sum(1).sqrt() / windows * (1 + ROUNDING)
    return constant


def ssim_interval(reference: Images, candidate: Images, eps: float) -> PixelInterval:
    """Where ``1 - ssim`` stays while the candidate moves by l2 ``eps``, the reference kept.

    Both ``(n, 3, h, w)``, of one size. The interval is proven, but not attained. Raises
    ``ValueError`` for invalid input.

    >>> picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> found = ssim_interval(picture, (picture * 0.8).clamp(0, 1), 0.5)
    >>> [round(x.item(), 3) for x in (found.lower, found.distance, found.upper)]
    [0.004, 0.048, 0.092]
    """
    eps = check_budget(eps)
    reach = ssim_constant(reference) * eps
    distance = ssim_distance(reference.double(), candidate.double())
    return PixelInterval(
        (distance - reach).clamp_min(0), (distance + reach).clamp_max(2), distance, eps
    )


def _steepest(square: Tensor, constant: float) -> Tensor:
    """g^2 of the module's text."""
    whole = square + constant
    return (4 * square + constant**2 / whole) / whole**2
