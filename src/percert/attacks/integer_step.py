"""The cheapest change in whole 8-bit levels that a linear model says is enough."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.norms import per_sample
from percert.tensors import Images, Vector

#: No step of 8 bits needs a scale beyond this; where the gradient is zero, none is enough.
LARGEST_SCALE = 1e7
#: Channels in the order in which their rounding is reconsidered: blue is the least visible.
ORDER = (2, 0, 1)


@dataclass(frozen=True, eq=False)
class Pixels:
    """What a step is made of, at the m pixels of each of n images that may move.

    ``form`` ``(n, 3, 3, m)`` and its ``inverse``: the local cost; ``direction`` ``(n, 3, m)``: the
    steepest way up for it; ``low`` and ``high``: how far each value may go down and up, in levels;
    ``position``: where these pixels lie in the image, ``(n, m)``.
    """

    form: Tensor
    inverse: Tensor
    direction: Tensor
    low: Tensor
    high: Tensor
    position: Tensor


def invert(form: Tensor) -> Tensor:
    """The inverses of symmetric 3 x 3 matrices that stand in dimensions 1 and 2, by cofactors."""
    (a, b, c), (_, d, e), (_, _, f) = (form[:, i].unbind(1) for i in range(3))
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    rows = torch.stack((aa, ab, ac, ab, bb, bc, ac, bc, cc), 1).view_as(form)
    return rows / (a * aa + b * ab + c * ac).unsqueeze(1).unsqueeze(1)


def times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``(n, 3, 3, ...)`` times ``(n, 3, ...)``."""
    return (matrices * vectors.unsqueeze(1)).sum(2)


def moving_pixels(
    images: Images, form: Tensor, inverse: Tensor, gradient: Tensor, share: float
) -> Pixels:
    """The ``share`` of each image's pixels that move first as the scale of the step grows."""
    n = len(images)
    size = form.flatten(3).shape[3]
    count = max(1, min(size, round(share * size)))
    slope = gradient.flatten(2)
    reach = (slope * times(inverse.flatten(3), slope)).sum(1).clamp_min(0).sqrt()
    widest = torch.stack([inverse[:, i, i].flatten(1) for i in range(3)]).amax(0).sqrt()
    position = (reach * widest).topk(count, dim=1).indices
    index = position[:, None].expand(n, 3, count)
    matrix = position[:, None, None].expand(n, 3, 3, count)
    levels = (images.flatten(2).gather(2, index) * 255).round()
    return Pixels(
        form.flatten(3).gather(3, matrix),
        inverse.flatten(3).gather(3, matrix),
        slope.gather(2, index),
        -levels,
        255 - levels,
        position,
    )


@dataclass(frozen=True)
class Growth:
    """How a cost grows with the change: with its ``power``, up to ``cap`` levels in a value.

    2 is a quadratic form. A lower power wants fewer pixels moved further.
    """

    power: float = 2.0
    cap: float = 255.0


def whole_levels(pixels: Pixels, scale: Vector, growth: Growth) -> Tensor:
    """The change at ``scale`` (``(n,)``) in whole levels, ``(n, 3, m)``.

    For power 2 the integers that (nearly) minimise k^T A k / 2 - s g^T k: the real minimum rounded,
    then each channel once more with the others in place. Otherwise the length t of a pixel's
    change, in the norm of A, becomes t^(1 / (power - 1)), which is where the cost's slope is s g.
    """
    push = per_sample(scale, pixels.direction) * pixels.direction
    change = times(pixels.inverse, push)
    if growth.power < 2:
        length = (push * change).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        wanted = length.clamp_max(10.0) ** (1 / (growth.power - 1))
        change = change * (wanted / length)
        change = change.clamp(-growth.cap, growth.cap)
        return torch.maximum(torch.minimum(change.round(), pixels.high), pixels.low)
    levels = list(change.round().unbind(1))
    for channel in ORDER:
        others = sum(
            (pixels.form[:, channel, j] * levels[j] for j in range(3) if j != channel),
            torch.zeros_like(levels[0]),
        )
        levels[channel] = ((push[:, channel] - others) / pixels.form[:, channel, channel]).round()
    return torch.maximum(torch.minimum(torch.stack(levels, 1), pixels.high), pixels.low)


def cheapest_scale(
    pixels: Pixels, gradient: Tensor, wanted: Vector, start: Vector, growth: Growth
) -> Vector:
    """The least scale whose change gains ``wanted`` (``(n,)``) along ``gradient`` (``(n, 3, m)``).

    Where no scale gains enough (every value at its limit), the last one tried.
    """

    def short(scale: Vector) -> Tensor:
        change = whole_levels(pixels, scale, growth)
        return (gradient * change).sum((1, 2)) / 255 < wanted

    return least_scale(short, start)


def least_scale(short: Callable[[Vector], Tensor], start: Vector) -> Vector:
    """The least scale that is not ``short``, within 0.1 %: doubles from ``start``, then bisects.

    ``short`` says of scales ``(n,)`` which are too small, and costs no call of the model. Where all
    are, the last one tried.
    """
    low, high = torch.zeros_like(start), start.clone()
    for _ in range(30):
        too_little = short(high)
        if not bool(too_little.any()):
            break
        low = torch.where(too_little, high, low)
        high = torch.where(too_little, 2 * high, high).clamp_max(LARGEST_SCALE)
    for _ in range(10):
        middle = (low + high) / 2
        too_little = short(middle)
        low = torch.where(too_little, middle, low)
        high = torch.where(too_little, high, middle)
    return high


def into_image(images: Images, pixels: Pixels, change: Tensor) -> Images:
    """``images`` with ``change`` (levels, ``(n, 3, m)``) at the moving pixels."""
    index = pixels.position[:, None].expand_as(change)
    levels = (images.flatten(2) * 255).scatter_add(2, index, change).round().clamp(0, 255)
    return images_of_levels(levels, images)


def images_of_levels(levels: Tensor, like: Images) -> Images:
    """Images of the shape of those ``like`` that have these whole levels, one row an image."""
    # Divided by a tensor, so that the values are those of a file to the bit on every device.
    values = levels / torch.full((), 255.0, dtype=levels.dtype, device=levels.device)
    shape = (len(levels), *like.shape[1:])
    return values.view(shape).contiguous(memory_format=torch.channels_last)


def first_aim(margin: Vector) -> Vector:
    """How far past the boundary the first step aims, from how far away it begins."""
    size = margin.abs()
    return (0.15 * size).clamp_min(0.05 * size.clamp_max(1) + 1e-6)
