"""The l2 budgets that certificates and attacks are measured at, and what they are in decibel."""

import math

#: l2 lengths in the pixels of a 299 x 299 image: the paper's three, then powers of two.
BUDGETS = (36 / 255, 72 / 255, 108 / 255, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: The side of the images that budgets are stated for.
SIDE = 299


def scaled(eps: float, size: tuple[int, int]) -> float:
    """``eps`` for images of ``size`` (height, width): the same PSNR as ``eps`` at 299 x 299.

    >>> scaled(16.0, (598, 598))
    32.0
    """
    height, width = size
    return eps * math.sqrt(height * width) / SIDE


def psnr(eps: float) -> float:
    """The least PSNR in dB of a change of l2 length ``eps`` at 299 x 299.

    >>> round(psnr(16.2), 1)
    30.1
    """
    return 20 * math.log10(math.sqrt(3) * SIDE / eps)
