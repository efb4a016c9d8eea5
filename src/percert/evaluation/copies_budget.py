"""The l2 budgets of tampering: what they are at an image's size, and in decibel."""

import math

#: The side of the square images that budgets are stated for where images have many sizes.
SIDE = 299


def scaled(eps: float, size: tuple[int, int], side: int = SIDE) -> float:
    """``eps`` for images of ``size`` (height, width): the same PSNR as at ``side`` x ``side``.

    A ``side`` of 0 takes ``eps`` as it is, an l2 length in the pixels of every image.

    >>> scaled(16.0, (598, 598)), scaled(16.0, (598, 598), side=0)
    (32.0, 16.0)
    """
    if side == 0:
        return eps
    height, width = size
    return eps * math.sqrt(height * width) / side


def psnr(eps: float, side: int = SIDE) -> float:
    """The least PSNR in dB of a change of l2 length ``eps`` at ``side`` x ``side``.

    >>> round(psnr(16.2), 1)
    30.1
    """
    return 20 * math.log10(math.sqrt(3) * side / eps)
