"""The least multiple of a perturbation that still reaches the goal once it is a file of 8 bits."""

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on
from percert.attacks.goal import Goal, Model
from percert.images import round_to_8bit
from percert.norms import per_sample
from percert.tensors import Images


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
