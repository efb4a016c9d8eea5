"""What every attack inside an Lp ball does: start, step uphill, and keep the best image."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import noise_like
from percert.tensors import Images, Vector, l2_norm, linf_norm, per_sample

#: The norms in which all bounded attacks work.
BallNorm: TypeAlias = Literal["l2", "linf"]
BALL_NORMS: tuple[BallNorm, ...] = ("l2", "linf")


def steepest(slope: Tensor, norm: BallNorm) -> Tensor:
    """The direction of unit length along which ``slope`` (``(n, ...)``) rises fastest; 0 for 0.

    Its sign for linf, its multiple for l2. Entries that are NaN or infinite count as 0, so that one
    broken pixel does not spoil an image.

    >>> steepest(torch.tensor([[3.0, -4.0], [0.0, 0.0]]), "l2")
    tensor([[ 0.6000, -0.8000],
            [ 0.0000,  0.0000]])
    """
    slope = slope.nan_to_num(0.0, 0.0, 0.0)
    if norm == "linf":
        return slope.sign()
    # In two steps: the squares of a gradient of 1e-25 are 0 in float32.
    slope = slope / per_sample(linf_norm(slope).clamp_min(1e-38), slope)
    return slope / per_sample(l2_norm(slope).clamp_min(1e-12), slope)


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


class Found:
    """The best image so far of each row: one that reaches the goal first, then by the loss.

    >>> found = Found(torch.zeros(1, 3, 1, 1))
    >>> row = torch.tensor([0])
    >>> found.offer(row, torch.ones(1, 3, 1, 1), torch.tensor([0.1]), torch.tensor([True]))
    >>> found.offer(row, torch.zeros(1, 3, 1, 1), torch.tensor([9.0]), torch.tensor([False]))
    >>> found.images.flatten(), found.reached
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
