"""sRGB, linear light and CIE XYZ (IEC 61966-2-1)."""

import torch
from torch import Tensor

from percert.tensors import Images

#: Linear red, green and blue to X, Y, Z, for white at Y = 1.
TO_XYZ = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)


def srgb_to_linear(images: Images) -> Images:
    """The light of sRGB values: ``(n, 3, h, w)`` in [0, 1], to the same; black 0, white 1.

    v / 12.92 up to 0.04045, ((v + 0.055) / 1.055)^2.4 above. Beyond [0, 1] both pieces go on.

    >>> srgb_to_linear(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.2140, 1.0000])
    """
    bright = ((images.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(images > 0.04045, bright, images / 12.92)


def linear_to_srgb(light: Images) -> Images:
    """The inverse of :func:`srgb_to_linear`.

    >>> linear_to_srgb(torch.tensor([0.0, 0.2140, 1.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    threshold = 0.04045 / 12.92
    bright = 1.055 * light.clamp_min(threshold) ** (1 / 2.4) - 0.055
    return torch.where(light > threshold, bright, 12.92 * light)


def linear_to_xyz(light: Images) -> Images:
    """CIE XYZ (2 degrees, D65) of linear light; both ``(n, 3, h, w)``, white at Y = 1.

    >>> linear_to_xyz(torch.ones(1, 3, 1, 1)).flatten()
    tensor([0.9505, 1.0000, 1.0890])
    """
    return mix(light, torch.tensor(TO_XYZ, dtype=torch.float64))


def xyz_to_linear(xyz: Images) -> Images:
    """The inverse of :func:`linear_to_xyz`; colours outside sRGB lie outside [0, 1]."""
    return mix(xyz, torch.linalg.inv(torch.tensor(TO_XYZ, dtype=torch.float64)))


def mix(images: Tensor, matrix: Tensor) -> Tensor:
    """Each pixel's three channels times a ``(k, 3)`` matrix: ``(n, 3, h, w)`` to ``(n, k, h, w)``.

    >>> mix(torch.ones(1, 3, 2, 2), torch.tensor([[0.25, 0.5, 0.25]])).shape
    torch.Size([1, 1, 2, 2])
    """
    weights = matrix.to(images)[:, :, None, None]
    # Not a matrix product: some round a pixel by where it lies, and equal colours came out unequal.
    red, green, blue = (weights[:, c] * images[:, c, None] for c in range(3))
    return red + green + blue
