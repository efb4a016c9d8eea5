"""Step-normalised gradient ascent with rescaling: the plain attack that others must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on, gradient, phases
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.prepare import prepared
from percert.attacks.rescale import rescale
from percert.attacks.steps import steepest
from percert.tensors import Images


@dataclass(frozen=True, kw_only=True)
class NormalisedAscent:
    """Steps of l2 length ``step`` along the loss's gradient until the goal is reached.

    Then the perturbation is rescaled to the least multiple that survives rounding to 8 bits
    (``rescale_steps`` bisections; 0 leaves it out). ``loss`` is climbed; the margin has a gradient
    where a saturated cross-entropy has none.
    """

    step: float = 0.1
    steps: int = 100
    loss: LossName = "margin"
    rescale_steps: int = 8

    @prepared
    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        iterating, finishing = phases(watch, self.steps)
        moved = normalised_ascent(
            model, images, goal, step=self.step, steps=self.steps, loss=self.loss, watch=iterating
        )
        if self.rescale_steps:
            moved = rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)
        return moved


def normalised_ascent(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    step: float,
    steps: int,
    loss: LossName = "margin",
    watch: Watch | None = None,
) -> Images:
    """Each image moved ``step`` (l2) at a time along its gradient, until the goal is reached."""
    result = images.clone()
    active = torch.arange(len(images), device=images.device)
    for done in range(steps + 1):
        if not go_on(watch, done, steps, len(active)):
            break
        some = goal.select(active)
        slope, scores = gradient(
            model,
            result[active],
            some,
            lambda scores, some=some: some.loss(scores, loss),  # type: ignore[misc]
        )
        going = some.margin(scores) <= 0  # images that are there leave the batch
        active, slope = active[going], slope[going]
        if done < steps:
            result[active] = (result[active] + step * steepest(slope, "l2")).clamp(0, 1)
    return result
