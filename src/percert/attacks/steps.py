"""What attacks share: random numbers, gradients, steps uphill, the best image, 8-bit rescaling."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on
from percert.attacks.goal import Goal, LossName, Model
from percert.images import round_to_8bit
from percert.tensors import Images, Vector, l2_norm, linf_norm, per_sample

#: The norms in which all bounded attacks work.
BallNorm: TypeAlias = Literal["l2", "linf"]
BALL_NORMS: tuple[BallNorm, ...] = ("l2", "linf")
#: A cross-entropy below this has a gradient of mostly rounding errors: the margin stands in for it.
SATURATED = 1e-3


def generators(seeds: Tensor | None, count: int) -> list[torch.Generator]:
    """A generator of random numbers for each of ``count`` images, on the CPU.

    On the CPU wherever the images are, so that a GPU attacks with the same numbers.
    """
    values = [0] * count if seeds is None else [int(seed) for seed in seeds]
    if len(values) != count:
        raise ValueError(f"seeds: expected {count}, one an image, found {len(values)}")
    return [torch.Generator().manual_seed(value) for value in values]


def noise_like(images: Tensor, sources: list[torch.Generator], kind: str = "normal") -> Tensor:
    """Random numbers shaped like ``images``: standard ``"normal"``, or ``"uniform"`` in [-1, 1].

    >>> source = generators(torch.tensor([7]), 1)
    >>> noise_like(torch.zeros(1, 3, 2, 2), source, "uniform").abs().max().item() <= 1
    True
    """
    shape = images.shape[1:]
    if kind == "normal":
        drawn = [torch.randn(shape, generator=source) for source in sources]
    else:
        drawn = [2 * torch.rand(shape, generator=source) - 1 for source in sources]
    return torch.stack(drawn).to(images) if drawn else torch.zeros_like(images)


def random_point(
    images: Images, norm: BallNorm, radius: Vector, sources: list[torch.Generator]
) -> Images:
    """A uniform point of each image's ball of ``radius`` (``(n,)``), clipped to [0, 1]."""
    if norm == "linf":
        change = noise_like(images, sources, "uniform")
    else:
        unit = steepest(noise_like(images, sources), "l2")
        share = torch.stack([torch.rand((), generator=source) for source in sources])
        depth = share.to(images) ** (1 / images[0].numel())
        change = unit * per_sample(depth, unit)
    return (images + per_sample(radius, change) * change).clamp(0, 1)


def gradient(
    model: Model, images: Images, goal: Goal, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The gradient of ``loss(scores)`` (``(n,)``) in the images, and the scores, both detached."""
    with torch.enable_grad():
        at = images.detach().requires_grad_(True)
        scores = goal.scores(model, at)
        (slope,) = torch.autograd.grad(loss(scores).sum(), at)
    return slope, scores.detach()


def loss_slope(
    model: Model, images: Images, goal: Goal, loss: LossName, *, fallback: bool = False
) -> tuple[Tensor, Tensor]:
    """The gradient of the goal's loss in the images, free of NaN, and the scores.

    With ``fallback``, that of the margin where the cross-entropy is saturated: below 1e-3 its
    gradient is the difference of a probability and 1, and loses what float32 cannot hold.
    """

    def climbed(scores: Tensor) -> Tensor:
        value = goal.loss(scores, loss)
        if not fallback or loss != "cross-entropy":
            return value
        return torch.where(value.detach().abs() < SATURATED, goal.loss(scores, "margin"), value)

    slope, scores = gradient(model, images, goal, climbed)
    return without_nan(slope), scores


def without_nan(slope: Tensor) -> Tensor:
    """A gradient with its NaN and infinite entries at zero: a broken pixel spoils no image."""
    return slope.nan_to_num(0.0, 0.0, 0.0)


def steepest(slope: Tensor, norm: BallNorm) -> Tensor:
    """The direction of unit length along which ``slope`` (``(n, ...)``) rises fastest; 0 for 0.

    Its sign for linf, its multiple for l2. Entries that are NaN or infinite count as 0.

    >>> steepest(torch.tensor([[3.0, -4.0], [0.0, 0.0]]), "l2")
    tensor([[ 0.6000, -0.8000],
            [ 0.0000,  0.0000]])
    """
    slope = without_nan(slope)
    if norm == "linf":
        return slope.sign()
    # In two steps: the squares of a gradient of 1e-25 are 0 in float32.
    slope = slope / per_sample(linf_norm(slope).clamp_min(1e-38), slope)
    return slope / per_sample(l2_norm(slope).clamp_min(1e-12), slope)


def nudged(slope: Tensor, index: Tensor, sources: list[torch.Generator]) -> Tensor:
    """``slope`` with random directions in place of zeros; ``index`` says which images these are."""
    flat = (l2_norm(slope) == 0).nonzero()[:, 0]
    if len(flat):
        slope = slope.clone()
        slope[flat] = noise_like(slope[flat], [sources[int(i)] for i in index[flat]])
    return slope


def annealed(first: float, last: float, done: int, total: int) -> float:
    """From ``first`` down to ``last`` along half a cosine, after ``done`` of ``total`` steps.

    >>> [annealed(1.0, 0.0, done, 4) for done in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """
    return last + (first - last) * (1 + math.cos(math.pi * done / total)) / 2


@torch.no_grad()
def reached(model: Model, images: Images, goal: Goal, index: Tensor) -> Tensor:
    """Which of ``images``, of rows ``index`` of the goal, reach it; ``(n,)``."""
    if not len(index):
        return torch.zeros(0, dtype=torch.bool, device=images.device)
    some = goal.select(index)
    return some.margin(some.scores(model, images)) > 0


class Best:
    """The best image so far of each row: one that reaches the goal first, then by a value.

    The value is the loss for an attack within a budget, minus the distance for one that looks for
    the smallest change.

    >>> best = Best(torch.zeros(1, 3, 1, 1))
    >>> row = torch.tensor([0])
    >>> best.offer(row, torch.ones(1, 3, 1, 1), torch.tensor([0.1]), torch.tensor([True]))
    >>> best.offer(row, torch.zeros(1, 3, 1, 1), torch.tensor([9.0]), torch.tensor([False]))
    >>> best.images.flatten(), best.reached
    (tensor([1., 1., 1.]), tensor([True]))
    """

    def __init__(self, images: Images) -> None:
        self.images = images.clone()
        self.value = images.new_full((len(images),), float("-inf"))
        self.reached = torch.zeros(len(images), dtype=torch.bool, device=images.device)

    def offer(self, index: Tensor, images: Images, value: Vector, reached: Tensor) -> None:
        """Keep those of ``images`` that are better than what rows ``index`` had."""
        value = value.to(self.value)
        had = self.reached[index]
        better = torch.where(reached == had, value > self.value[index], reached)
        rows = index[better]
        self.images[rows] = images[better]
        self.value[rows], self.reached[rows] = value[better], reached[better]

    def remaining(self, everyone: bool = False) -> Tensor:
        """The rows whose goal is not reached yet, or all."""
        rows = torch.arange(len(self.images), device=self.images.device)
        return rows if everyone else rows[~self.reached]

    def or_last(self, last: Images) -> Images:
        """The best images of the rows that reached the goal, and ``last`` of the others."""
        return torch.where(per_sample(self.reached, last), self.images, last)


#: The first step beyond a change that misses its goal, as a share of the change.
FARTHER = 0.05


@torch.no_grad()
def rescale(
    model: Model,
    images: Images,
    adversarial: Images,
    goal: Goal,
    *,
    steps: int = 8,
    watch: Watch | None = None,
) -> Images:
    """Shrink or grow each perturbation until the rounded image just reaches the goal.

    Searches t in ``round_to_8bit(clip(x + t (x' - x)))``: while the goal is missed t - 1 grows from
    0.05 to four times as much (at most ``steps`` times), then ``steps`` bisections between the last
    failure and the first success. What misses it was mostly rounded out of it, and lacks little:
    far along a curved way the goal is reached again where little is left of the image. At most
    ``2 steps + 1`` forward passes an image, fewer where ``watch`` ends the search. Returns 8-bit
    images; where no t succeeds, the given image, rounded.
    """
    change = adversarial - images
    low = images.new_zeros(len(images))
    high = images.new_ones(len(images))

    def reached(index: Tensor, scale: Tensor) -> Tensor:
        some = at(images[index], change[index], scale)
        return goal.select(index).margin(goal.select(index).scores(model, some)) > 0

    everyone = torch.arange(len(images), device=images.device)
    found = reached(everyone, high) if len(images) else everyone.bool()
    for done in range(steps):
        rest = everyone[~found]
        if not go_on(watch, done, 2 * steps, len(rest)):
            break
        low[rest], high[rest] = high[rest], 1 + FARTHER * 4**done
        found[rest] = reached(rest, high[rest])
    search = everyone[found]
    for done in range(steps):
        if not go_on(watch, steps + done, 2 * steps, len(search)):
            break
        middle = (low[search] + high[search]) / 2
        ok = reached(search, middle)
        high[search] = torch.where(ok, middle, high[search])
        low[search] = torch.where(ok, low[search], middle)
    scale = torch.where(found, high, torch.ones_like(high))
    return at(images, change, scale)


def at(images: Images, change: Tensor, scale: Tensor) -> Images:
    """The 8-bit image at ``scale`` (``(n,)``) times the ``change``."""
    return round_to_8bit((images + per_sample(scale, change) * change).clamp(0, 1))
