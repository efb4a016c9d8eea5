"""Leave a class by way of one certain other class: the targeted stages of AutoAttack and FAB."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from percert.attacks.goal import Goal, LossName, Model, Untargeted
from percert.tensors import Images, Vector


@dataclass(frozen=True, eq=False)
class Towards:
    """An untargeted goal that is climbed through one other class of each image, ``classes``.

    ``gap`` is z_t - z_y less the confidence, greater than 0 only where the goal is reached. The
    goal counts as reached by whatever class gets ahead, as in Croce and Hein 2020.
    """

    goal: Untargeted
    classes: Tensor

    def __len__(self) -> int:
        return len(self.goal)

    def select(self, index: Tensor) -> "Towards":
        return replace(self, goal=self.goal.select(index), classes=self.classes[index])

    def scores(self, model: Model, images: Images) -> Tensor:
        return self.goal.scores(model, images)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        """z_t - z_y, for ``"dlr"`` divided by z_(1) - (z_(3) + z_(4)) / 2 (their Eq. 7)."""
        if kind == "cross-entropy":
            return scores.log_softmax(1).gather(1, self.classes[:, None])[:, 0]
        ahead = self._ahead(scores)
        if kind == "margin":
            return ahead
        if scores.shape[1] < 4:
            raise ValueError(f"loss 'dlr' towards a class needs 4 classes, found {scores.shape[1]}")
        best = scores.topk(4, dim=1).values
        return ahead / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2).clamp_min(1e-12)

    def margin(self, scores: Tensor) -> Vector:
        return self.goal.margin(scores)

    def gap(self, scores: Tensor) -> Vector:
        return self._ahead(scores) - self.goal.confidence

    def _ahead(self, scores: Tensor) -> Vector:
        target, label = self.classes[:, None], self.goal.labels[:, None]
        return (scores.gather(1, target) - scores.gather(1, label))[:, 0]


def gap(goal: Goal, scores: Tensor) -> Vector:
    """What a minimal-norm attack brings to 0: the goal's margin, or that of its one class."""
    return goal.gap(scores) if isinstance(goal, Towards) else goal.margin(scores)


def through_classes(goal: Goal, scores: Tensor, count: int) -> Iterator[Goal]:
    """The goal through each of the ``count`` classes that come next to the label, likeliest first.

    ``scores`` are those of the clean images. A goal that is not untargeted, or that has only two
    classes to choose from, is given as it is, once.

    >>> import torch
    >>> goal = Untargeted(torch.tensor([0]))
    >>> [one.classes.item() for one in through_classes(goal, torch.tensor([[3.0, 1.0, 2.0]]), 9)]
    [2, 1]
    """
    if not isinstance(goal, Untargeted) or scores.shape[1] < 3 or count < 1:
        yield goal
        return
    others = scores.scatter(1, goal.labels[:, None], float("-inf"))
    ranked = others.topk(min(count, scores.shape[1] - 1), dim=1).indices
    for classes in ranked.unbind(1):
        yield Towards(goal, classes)
