"""What every attack that looks for the smallest change keeps: the nearest success of each image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.transport.surrogate import demanding
from percert.tensors import Images, Vector


class Nearest:
    """The nearest image so far that reaches the goal, for each row; the start where there is none.

    >>> nearest = Nearest(torch.zeros(1, 3, 1, 1))
    >>> row, yes = torch.tensor([0]), torch.tensor([True])
    >>> nearest.offer(row, torch.ones(1, 3, 1, 1), torch.tensor([3.0]), yes)
    >>> nearest.offer(row, torch.full((1, 3, 1, 1), 0.5), torch.tensor([1.5]), yes)
    >>> nearest.offer(row, torch.zeros(1, 3, 1, 1), torch.tensor([0.0]), ~yes)
    >>> nearest.images.flatten(), nearest.distance
    (tensor([0.5000, 0.5000, 0.5000]), tensor([1.5000]))
    """

    def __init__(self, images: Images) -> None:
        self.images = images.clone()
        self.distance = images.new_full((len(images),), float("inf"))

    @property
    def found(self) -> Tensor:
        """Which rows have a success, ``(n,)``."""
        return self.distance.isfinite()

    def offer(self, index: Tensor, images: Images, distance: Vector, reached: Tensor) -> None:
        """Keep those of ``images``, of rows ``index``, that reach the goal nearer than before."""
        better = reached & (distance < self.distance[index])
        self.images[index[better]] = images[better]
        self.distance[index[better]] = distance[better]

    def or_last(self, last: Images) -> Images:
        """The nearest successes, and ``last`` where there is none."""
        keep = self.found.view(-1, *([1] * (last.ndim - 1)))
        return torch.where(keep, self.images, last)


@dataclass(frozen=True, eq=False)
class Clearly:
    """A goal reached by more than rounding: its margin less 1e-5 of the largest score, and 1e-6.

    The nearest success is so near the boundary that in another batch, whose sums are rounded in
    another order, it would be a failure.

    >>> from percert.attacks.goal import Untargeted
    >>> goal = Clearly(Untargeted(torch.tensor([0])))
    >>> goal.margin(torch.tensor([[100.0, 100.0009]])) > 0
    tensor([False])
    """

    goal: Goal

    def __len__(self) -> int:
        return len(self.goal)

    def select(self, index: Tensor) -> "Clearly":
        return Clearly(self.goal.select(index))

    def scores(self, model: Model, images: Images) -> Tensor:
        return self.goal.scores(model, images)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return self.goal.loss(scores, kind)

    def margin(self, scores: Tensor) -> Vector:
        return self.goal.margin(scores) - 1e-5 * scores.detach().abs().amax(1) - 1e-6


def clearly(goal: Goal) -> Goal:
    """The goal, to be reached by more than rounding.

    Raises ``ValueError`` for a goal that can never be reached: there is no nearest success then.
    """
    return Clearly(demanding(goal, 0.0))


@torch.no_grad()
def reached(model: Model, images: Images, goal: Goal, index: Tensor) -> Tensor:
    """Which of ``images``, of rows ``index`` of the goal, reach it; ``(n,)``."""
    if not len(index):
        return torch.zeros(0, dtype=torch.bool, device=images.device)
    some = goal.select(index)
    return some.margin(some.scores(model, images)) > 0


def annealed(first: float, last: float, done: int, total: int) -> float:
    """From ``first`` down to ``last`` along half a cosine, after ``done`` of ``total`` steps.

    >>> [annealed(1.0, 0.0, done, 4) for done in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """
    return last + (first - last) * (1 + math.cos(math.pi * done / total)) / 2
