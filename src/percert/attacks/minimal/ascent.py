"""Ascent and PerC-AL: attacks by normalised steps that look for the smallest change."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model, Targeted
from percert.attacks.goal_through import clearly, innermost
from percert.attacks.steps import (
    Best,
    annealed,
    generators,
    loss_slope,
    nudged,
    reached,
    rescale,
    steepest,
)
from percert.attacks.transport.cost import cost_gradient
from percert.check import check_choice
from percert.color import ciede2000, srgb_to_lab
from percert.images import round_to_8bit
from percert.tensors import Images, Vector, l2_norm


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


@dataclass(frozen=True, kw_only=True)
class PerCAL:
    """The 8-bit image of least colour difference that reaches the goal, of those met on the way.

    Zhao, Liu and Larson 2020, Algorithm 2: an image whose rounding misses the goal takes a step of
    l2 length ``loss_step`` up the loss, any other one of ``color_step`` down the colour difference,
    the l2 norm of CIEDE2000 over pixels. Both lengths fall along half a cosine, to a hundredth and
    to a tenth. Without ``color_step`` it is the authors': 0.5 towards a target, and 0.1 otherwise.
    Images at the goal to begin with come back unchanged. ``rescale_steps`` bisections then shrink
    what was found, 0 for none. Raises ``ValueError`` for a goal that cannot be reached.

    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)
    >>> moved = PerCAL(steps=50)(model, grey, torch.tensor([0]))
    >>> 0.49 < moved.mean().item() < 0.5
    True
    """

    steps: int = 1000
    loss_step: float = 1.0
    color_step: float | None = None
    loss: LossName = "cross-entropy"
    rescale_steps: int = 0

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
        color_step = self.color_step
        if color_step is None:
            color_step = 0.5 if isinstance(innermost(goal), Targeted) else 0.1
        goal, relay = clearly(goal), Relay(watch)
        best, current = Best(images), images.clone()
        sources = generators(seeds, len(images))
        there = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        active = torch.arange(len(images), device=images.device)
        for done in range(self.steps):
            if not go_on(relay, done, self.steps, len(active)):
                break
            behind, ahead = active[~there[active]], active[there[active]]
            if len(behind):
                some = goal.select(behind)
                slope, scores = loss_slope(model, current[behind], some, self.loss, fallback=True)
                if done == 0:
                    going = some.margin(scores) <= 0
                    active, behind, slope = active[going], behind[going], slope[going]
                unit = steepest(nudged(slope, behind, sources), "l2")
                size = annealed(self.loss_step, self.loss_step / 100, done, self.steps)
                current[behind] += size * unit
            if len(ahead):
                slope, distance = cost_gradient(_color_distance, images[ahead], current[ahead])
                best.offer(ahead, round_to_8bit(current[ahead]), -distance, there[ahead])
                size = annealed(color_step, color_step / 10, done, self.steps)
                current[ahead] -= size * steepest(slope, "l2")
            current = current.clamp(0, 1)
            there[active] = reached(model, round_to_8bit(current[active]), goal, active)
        ahead = active[there[active]]
        distance = _color_distance(images[ahead], current[ahead])
        best.offer(ahead, round_to_8bit(current[ahead]), -distance, there[ahead])
        moved = best.or_last(round_to_8bit(current))
        if not self.rescale_steps:
            return moved
        finishing = relay.as_part(self.steps, self.steps)
        return rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)


def _color_distance(reference: Images, candidate: Images) -> Vector:
    """The l2 norm over pixels of CIEDE2000, ``(n,)``."""
    return l2_norm(ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate)))
