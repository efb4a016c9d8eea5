"""CIELAB: lightness and two axes of colour, near to how far apart colours look (CIE 15)."""

import torch

from percert.color.srgb import (
    TO_XYZ,
    linear_to_srgb,
    linear_to_xyz,
    srgb_to_linear,
    xyz_to_linear,
)
from percert.tensors import Images

#: X, Y, Z of sRGB's white, D65: with it every grey has a = b = 0.
WHITE = (sum(TO_XYZ[0]), sum(TO_XYZ[1]), sum(TO_XYZ[2]))
#: Where CIELAB's cube root gives way to a straight line: t = (6 / 29)^3.
KNEE = 6 / 29


def srgb_to_lab(images: Images) -> Images:
    """L (0 to 100), a and b of sRGB images in [0, 1]; both ``(n, 3, h, w)``. Smooth enough for
    gradients everywhere, black included.

    >>> srgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().round()
    tensor([100., 0., 0.])
    """
    return xyz_to_lab(linear_to_xyz(srgb_to_linear(images)))


def lab_to_srgb(lab: Images) -> Images:
    """The inverse of :func:`srgb_to_lab`; colours that sRGB cannot show lie outside [0, 1]."""
    return linear_to_srgb(xyz_to_linear(lab_to_xyz(lab)))


def xyz_to_lab(xyz: Images, white: tuple[float, float, float] = WHITE) -> Images:
    """CIELAB of CIE XYZ under a white of the same scale; both ``(n, 3, h, w)``."""
    relative = xyz / _column(white, xyz)
    root = relative.clamp_min(KNEE**3) ** (1 / 3)
    line = relative / (3 * KNEE**2) + 4 / 29
    x, y, z = torch.where(relative > KNEE**3, root, line).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)


def lab_to_xyz(lab: Images, white: tuple[float, float, float] = WHITE) -> Images:
    """The inverse of :func:`xyz_to_lab`."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), 1)
    relative = torch.where(f > KNEE, f**3, 3 * KNEE**2 * (f - 4 / 29))
    return relative * _column(white, lab)


def _column(white: tuple[float, float, float], like: Images) -> Images:
    return torch.tensor(white, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
