"""Normalised gradient ascent, and the least multiple of a change that survives 8 bits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.steps import loss_slope, steepest
from percert.check import check_choice
from percert.images import round_to_8bit
from percert.tensors import Images, per_sample


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """Steps of l2 length ``step`` along the loss's gradient until the goal is reached.

    Then the perturbation is rescaled to the least multiple that survives rounding to 8 bits
    (``rescale_steps`` bisections; 0 leaves it out). ``loss`` is climbed; the margin has a gradient
    where a saturated cross-entropy has none. The plain attack that others must beat.
    """

    step: float = 0.1
    steps: int = 100
    loss: LossName = "margin"
    rescale_steps: int = 8

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")

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
        relay = Relay(watch)
        moved = images.clone()
        active = torch.arange(len(images), device=images.device)
        for done in range(self.steps + 1):
            if not go_on(relay, done, self.steps, len(active)):
                break
            some = goal.select(active)
            slope, scores = loss_slope(model, moved[active], some, self.loss)
            going = some.margin(scores) <= 0  # images that are there leave the batch
            active, slope = active[going], slope[going]
            if done < self.steps:
                ahead = moved[active] + self.step * steepest(slope, "l2")
                moved[active] = ahead.clamp(0, 1)
        if not self.rescale_steps:
            return moved
        finishing = relay.as_part(self.steps, self.steps)
        return rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)


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

    Searches t in ``round_to_8bit(clip(x + t (x' - x)))``: t doubles from 1 while the goal is
    missed (at most ``steps`` times), then ``steps`` bisections between the last failure and the
    first success. At most ``2 steps + 1`` forward passes an image, fewer where ``watch`` ends the
    search. Returns 8-bit images; where no t succeeds, the given image, rounded.
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
        low[rest], high[rest] = high[rest], 2 * high[rest]
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
