"""A goal that must be reached through preprocessing defences as well."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from percert.attacks.goal import Goal, LossName, Model
from percert.defences import Defence, create_defence
from percert.tensors import Images, Vector


@dataclass(frozen=True, eq=False)
class Surviving:
    """``goal``, on the image itself and on what each of the ``defences`` makes of it.

    The loss and the margin are the worst of them. Defences are differentiated as if they changed
    nothing (straight through), since most have no gradient. Scores hold those of every version, one
    behind the other.

    >>> from percert.attacks import Untargeted
    >>> goal = surviving(Untargeted(torch.tensor([0])), "bits-1")
    >>> model = lambda x: torch.stack([0.7 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.7], 1)
    >>> image = torch.full((1, 3, 4, 4), 0.6)
    >>> goal.goal.margin(model(image)), goal.margin(goal.scores(model, image))
    (tensor([-0.2000]), tensor([-0.2000]))
    """

    goal: Goal
    defences: tuple[Defence, ...]

    def __len__(self) -> int:
        return len(self.goal)

    @property
    def labels(self) -> Tensor:
        """The labels of a goal on classes."""
        labels: Tensor = self.goal.labels  # type: ignore[attr-defined]  # such a goal has them
        return labels

    def select(self, index: Tensor) -> "Surviving":
        return replace(self, goal=self.goal.select(index))

    def scores(self, model: Model, images: Images) -> Tensor:
        versions = [images, *(through(defence, images) for defence in self.defences)]
        return torch.cat([self.goal.scores(model, version) for version in versions], 1)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return torch.stack([self.goal.loss(part, kind) for part in self._parts(scores)]).amin(0)

    def margin(self, scores: Tensor) -> Vector:
        return torch.stack([self.goal.margin(part) for part in self._parts(scores)]).amin(0)

    def _parts(self, scores: Tensor) -> Sequence[Tensor]:
        return scores.chunk(1 + len(self.defences), 1)


def through(defence: Defence, images: Images) -> Images:
    """The defended images, with the gradient of leaving them alone."""
    with torch.no_grad():
        defended = defence(images.detach())
    return images + (defended - images).detach()


def surviving(goal: Goal, defences: str) -> Goal:
    """``goal`` through each defence of a list such as ``"jpeg-75+bits-4"``; itself where empty."""
    if not defences:
        return goal
    return Surviving(goal, tuple(create_defence(name) for name in defences.split("+")))
