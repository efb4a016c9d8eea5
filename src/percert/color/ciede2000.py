"""CIEDE2000, the CIE's difference of two colours, with gradients that are finite everywhere."""

import math

import torch
from torch import Tensor

from percert.tensors import Images


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
