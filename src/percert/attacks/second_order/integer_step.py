"""The cheapest change in whole 8-bit levels that a linear model says is enough.

For a quadratic cost at once (:func:`cheapest_scale`); for l1 by a proximal attack
(:func:`sparse_levels`): an l1 cost wants few values moved far, and a step along the gradient moves
all of them a little. So each iteration adds a multiple of the gradient to the change so far and
then shrinks every value towards 0 by a threshold (the proximal operator of l1: Beck and Teboulle
2009, as in EAD, Chen et al. 2018), which falls from iteration to iteration. The multiple is the
least that carries the linear model of the loss past the decision boundary, in whole levels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on
from percert.attacks.goal import Goal, Model
from percert.attacks.steps import gradient
from percert.images import round_to_8bit
from percert.tensors import Images, Vector, per_sample

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


@dataclass(frozen=True)
class Sparsity:
    """Levels that each value loses in the first and the last iteration; ``momentum`` is the share
    of the old direction that is kept; ``relax`` and ``insist``: how the aim beyond the boundary
    changes after an iteration that reached the goal, and after one that did not.
    """

    first: float = 15.0
    last: float = 2.0
    momentum: float = 0.3
    relax: float = 0.9
    insist: float = 1.3


@dataclass
class _Track:
    """One row an image, its pixels flattened; in levels. ``change`` is not rounded yet."""

    levels: Tensor
    change: Tensor
    direction: Tensor
    push: Vector
    best: Tensor
    best_cost: Vector


def sparse_levels(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    steps: int,
    most_steps: int,
    sparsity: Sparsity | None = None,
    watch: Watch | None = None,
) -> Images:
    """Attack ``images`` (rounded to 8 bits first) with the least l1 change.

    ``steps`` gradients for every image, and more, to ``most_steps`` (no fewer), for those that have
    not reached the goal by then; these come back where the last iteration left them.
    """
    sparsity = sparsity or Sparsity()
    track = _begin(images)
    active = torch.arange(len(images), device=images.device)
    for done in range(most_steps + 1):
        if not go_on(watch, done, most_steps, len(active)):
            break
        some = goal.select(active)
        whole = _whole(track, active)
        slope, scores = gradient(model, images_of_levels(whole, images), some, some.margin)
        margin = some.margin(scores)
        slope = torch.nan_to_num(slope).flatten(1) / 255
        found = _keep_best(track, active, whole, margin > 0)
        going = ~found if done >= steps else torch.ones_like(found)
        active, whole = active[going], whole[going]
        if done < most_steps and len(active):
            _step(track, active, whole, slope[going], margin[going], done / max(steps, 1), sparsity)
    reached = track.best_cost.isfinite()[:, None]
    everything = torch.arange(len(images), device=images.device)
    return images_of_levels(torch.where(reached, track.best, _whole(track, everything)), images)


def _begin(images: Images) -> _Track:
    levels = (round_to_8bit(images.detach()).flatten(1) * 255).round()
    count = levels.new_zeros(len(levels))
    return _Track(
        levels=levels,
        change=torch.zeros_like(levels),
        direction=torch.zeros_like(levels),
        push=count,
        best=levels,
        best_cost=torch.full_like(count, torch.inf),
    )


def _whole(track: _Track, index: Tensor) -> Tensor:
    """The changed values in whole levels; the change itself never leaves the image's range."""
    return track.levels[index] + track.change[index].round()


def _keep_best(track: _Track, index: Tensor, whole: Tensor, reached: Tensor) -> Tensor:
    """Note what is better than before; returns which of ``index`` have reached the goal so far."""
    cost = (whole - track.levels[index]).abs().sum(1)
    better = reached & (cost > 0) & (cost < track.best_cost[index])
    chosen = index[better]
    if len(chosen):
        track.best = track.best.index_copy(0, chosen, whole[better])
        track.best_cost[chosen] = cost[better]
    return track.best_cost[index].isfinite()


@torch.no_grad()
def _step(
    track: _Track,
    active: Tensor,
    whole: Tensor,
    slope: Tensor,
    margin: Vector,
    progress: float,
    sparsity: Sparsity,
) -> None:
    """Move every active image to the sparsest point that the linear model takes past the goal."""
    # How far past the boundary to aim: a little less after every success, more after a failure.
    if progress == 0:
        track.push[active] = first_aim(margin)
    else:
        track.push[active] *= torch.where(margin > 0, sparsity.relax, sparsity.insist)
    unit = slope / slope.abs().amax(1, keepdim=True).clamp_min(1e-30)
    if progress > 0:
        unit = torch.lerp(unit, track.direction[active], sparsity.momentum)
    track.direction[active] = unit
    levels, change = track.levels[active], track.change[active]
    wanted = track.push[active] - margin + (slope * (whole - levels)).sum(1)
    # The first step starts from nothing: there is nothing to shrink but the step itself.
    ratio = sparsity.last / sparsity.first
    lost = sparsity.first * ratio ** min(progress, 1.0) if progress > 0 else 0.0

    def moved(scale: Vector) -> Tensor:
        step = torch.addcmul(change, per_sample(scale, unit), unit)
        step = step.sign() * (step.abs() - lost).clamp_min_(0)
        return torch.maximum(torch.minimum(step, 255 - levels), -levels)

    def short(scale: Vector) -> Tensor:
        return (slope * moved(scale).round()).sum(1) < wanted

    track.change[active] = moved(least_scale(short, torch.ones_like(wanted)))
