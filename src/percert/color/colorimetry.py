"""sRGB, linear light, CIE XYZ and CIELAB, and the colour difference CIEDE2000.

sRGB by IEC 61966-2-1, CIELAB by CIE 15; gradients are finite everywhere.
"""

import math

import torch
from torch import Tensor

from percert.tensors import Images

#: Linear red, green and blue to X, Y, Z, for white at Y = 1.
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))


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


def ciede2000(reference: Images, candidate: Images) -> Tensor:
    """CIEDE2000 of CIELAB colours ``(n, 3, h, w)``: ``(n, h, w)``, 0 for equal, about 1 just seen.

    With k_L = k_C = k_H = 1 (Sharma, Wu and Dalal, The CIEDE2000 color-difference formula:
    implementation notes, supplementary test data, and mathematical observations, 2005, equations 2
    to 22; symmetric). As a root of a square it has a kink at equal colours: the gradient there is
    0. Greys have no hue, and there no gradient reaches it either.

    >>> pair = torch.tensor([[50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]])
    >>> reference, candidate = pair.view(2, 1, 3, 1, 1)
    >>> ciede2000(reference, candidate).squeeze()
    tensor(2.0425)
    """
    l1, a1, b1 = reference.unbind(1)
    l2, a2, b2 = candidate.unbind(1)
    stretch = 1.5 - 0.5 * _saturation((_length(a1, b1) + _length(a2, b2)) / 2)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = _length(a1, b1), _length(a2, b2)

    # Differences in lightness, chroma and hue. 2 sqrt(c1 c2) sin(half the angle) is written with
    # the cross product of the two colours, which keeps its digits where they are near each other.
    cross, dot = a1 * b2 - a2 * b1, a1 * a2 + b1 * b2
    wide = dot < 0
    apart = safe_sqrt(2 * torch.where(wide, c1 * c2 - dot, 0))
    near = torch.where(wide | (c1 * c2 == 0), 1, (c1 * c2 + dot) / 2).sqrt()
    hue = torch.where(wide, torch.where(cross < 0, -apart, apart), cross / near)

    mean_l, mean_c, mean_h = (l1 + l2) / 2, (c1 + c2) / 2, _mean_hue(a1, b1, a2, b2)
    weight = 1 + _cosines(mean_h)
    bend = (mean_l - 50) ** 2
    lightness = (l2 - l1) / (1 + 0.015 * bend / (20 + bend).sqrt())
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)
    hue = hue / (1 + 0.015 * mean_c * weight)
    blue = torch.exp(-(((mean_h * 180 / math.pi - 275) / 25) ** 2))
    rotation = -2 * _saturation(mean_c) * torch.sin(math.pi / 3 * blue)
    return safe_sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue)


def safe_sqrt(values: Tensor) -> Tensor:
    """The square root, 0 for values not above 0, where its gradient is 0 as well.

    >>> value = torch.zeros((), requires_grad=True)
    >>> safe_sqrt(value).backward()
    >>> value.grad
    tensor(0.)
    """
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1).sqrt(), 0)


def _length(a: Tensor, b: Tensor) -> Tensor:
    return safe_sqrt(a * a + b * b)


def _saturation(chroma: Tensor) -> Tensor:
    """sqrt(c^7 / (c^7 + 25^7)), the share of the full correction for strong colours."""
    power = (chroma / 25) ** 7
    return safe_sqrt(power / (power + 1))


def _is_grey(a: Tensor, b: Tensor) -> Tensor:
    """Whether a colour has no hue, not even one that the gradient of an angle could divide by."""
    return a * a + b * b == 0


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """The angle of a colour in [0, 2 pi); 0 for a grey."""
    grey = _is_grey(a, b)
    angle = torch.atan2(torch.where(grey, 0, b), torch.where(grey, 1, a))
    return torch.where(angle < 0, angle + 2 * math.pi, angle)


def _mean_hue(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> Tensor:
    """The angle halfway along the shorter arc; beside a grey, the other's."""
    first, second = _hue(a1, b1), _hue(a2, b2)
    total = first + second
    grey = _is_grey(a1, b1) | _is_grey(a2, b2)
    turn = torch.where(total < 2 * math.pi, math.pi, -math.pi)
    crossing = (first - second).abs() > math.pi
    return torch.where(grey, total, total / 2 + torch.where(crossing, turn, 0))


def _cosines(hue: Tensor) -> Tensor:
    """T - 1 of the formula: how the tolerance for hue goes with hue."""
    degree = math.pi / 180
    return (
        -0.17 * torch.cos(hue - 30 * degree)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + 6 * degree)
        - 0.20 * torch.cos(4 * hue - 63 * degree)
    )
