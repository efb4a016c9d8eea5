"""DDN and FMN: steps within a ball that shrinks after a success and grows after a failure."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.goal_through import clearly
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
from percert.attacks.threat import NORMS, Norm, length, project
from percert.check import check_choice
from percert.tensors import Images, l2_norm, per_sample

#: The norm whose length turns a loss and its gradient into a distance to the boundary (Hölder).
DUAL: dict[Norm, Norm] = {"l1": "linf", "l2": "l2", "linf": "l1"}


@dataclass(frozen=True, kw_only=True)
class DDN:
    """The image nearest in l2 that reaches the goal, of those met on the way (Rony et al. 2019).

    Algorithm 1: every step moves the perturbation along the unit gradient, by 1 at first and 0.01
    at last, then gives it the l2 length of its image, which shrinks by the share ``gamma`` after a
    success and grows by it after a failure, from ``length``. Each iterate is rounded to ``levels``
    levels, not at all for 0; with 256 what it finds is an 8-bit image already. All ``steps`` are
    taken for every image, but for those that are at the goal to begin with: these come back
    unchanged. ``rescale_steps`` bisections then shrink what was found, 0 for none. Raises
    ``ValueError`` for a goal that cannot be reached.

    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary, 0.5, is at l2 0.1 sqrt(48) = 0.693
    >>> moved = DDN(levels=0)(model, grey, torch.tensor([0]))
    >>> 0.692 < (moved - grey).norm().item() < 0.72
    True
    """

    steps: int = 100
    gamma: float = 0.05
    length: float = 1.0
    levels: int = 256
    loss: LossName = "cross-entropy"
    rescale_steps: int = 0

    def __post_init__(self) -> None:
        if self.levels < 0 or self.levels == 1:
            raise ValueError(f"levels: expected 0 (none) or at least 2, found {self.levels}")
        _check_gamma(self.gamma)
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
        goal, relay = clearly(goal), Relay(watch)
        best, current = Best(images), images.clone()
        sources = generators(seeds, len(images))
        size = images.new_full((len(images),), self.length)
        farthest = l2_norm(torch.maximum(images, 1 - images))
        active = torch.arange(len(images), device=images.device)
        for done in range(self.steps):
            if not go_on(relay, done, self.steps, len(active)):
                break
            some = goal.select(active)
            slope, scores = loss_slope(model, current[active], some, self.loss, fallback=True)
            there = some.margin(scores) > 0
            if done == 0:
                active, slope, there = active[~there], slope[~there], there[~there]
            original, at = images[active], current[active]
            best.offer(active, at, -l2_norm(at - original), there)
            size[active] *= torch.where(there, 1 - self.gamma, 1 + self.gamma)
            size = torch.minimum(size, farthest)
            unit = steepest(nudged(slope, active, sources), "l2")
            change = steepest(at - original + annealed(1.0, 0.01, done, self.steps) * unit, "l2")
            at = (original + per_sample(size[active], change) * change).clamp(0, 1)
            current[active] = _rounded(at, self.levels)
        at = current[active]
        best.offer(active, at, -l2_norm(at - images[active]), reached(model, at, goal, active))
        moved = best.or_last(current)
        if not self.rescale_steps:
            return moved
        finishing = relay.as_part(self.steps, self.steps)
        return rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)


@dataclass(frozen=True, kw_only=True)
class FMN:
    """The image nearest in ``norm`` that reaches the goal, of those met on the way.

    Pintor et al. 2021, Algorithm 1: every step goes along the margin's unit gradient, ``step`` long
    in l2 at first and a hundredth of it at last, and is projected into a ball around the original.
    Its radius is, until a first success, the distance to the boundary as the gradient foretells it;
    after that it shrinks by the share ``gamma`` (which falls to 0.001) after a success, and grows
    by it after a failure. All ``steps`` are taken for every image, but for those that are at the
    goal to begin with: these come back unchanged. ``rescale_steps`` bisections take what was found
    to 8 bits, 0 for none. Raises ``ValueError`` for a goal that cannot be reached.

    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary is at linf 0.1
    >>> moved = FMN(norm="linf", rescale_steps=0)(model, grey, torch.tensor([0]))
    >>> 0.0999 < (moved - grey).abs().max().item() < 0.101
    True
    """

    norm: Norm = "l2"
    steps: int = 100
    step: float = 1.0
    gamma: float = 0.05
    rescale_steps: int = 8

    def __post_init__(self) -> None:
        check_choice(self.norm, NORMS, "norm")
        _check_gamma(self.gamma)

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
        goal, relay, norm = clearly(goal), Relay(watch), self.norm
        best, current = Best(images), images.clone()
        sources = generators(seeds, len(images))
        farthest = length(torch.maximum(images, 1 - images), norm)
        radius = farthest.clone()
        active = torch.arange(len(images), device=images.device)
        for done in range(self.steps):
            if not go_on(relay, done, self.steps, len(active)):
                break
            some = goal.select(active)
            slope, scores = loss_slope(model, current[active], some, "margin", fallback=True)
            margin = some.margin(scores)
            if done == 0:
                going = margin <= 0
                active, slope, margin = active[going], slope[going], margin[going]
            original, at, there = images[active], current[active], margin > 0
            distance = length(at - original, norm)
            best.offer(active, at, -distance, there)
            share = annealed(self.gamma, 0.001, done, self.steps)
            foretold = distance + margin.abs() / length(slope, DUAL[norm]).clamp_min(1e-30)
            grown = torch.where(best.reached[active], radius[active] * (1 + share), foretold)
            shrunk = torch.minimum(radius[active] * (1 - share), -best.value[active])
            radius[active] = torch.minimum(torch.where(there, shrunk, grown), farthest[active])
            unit = steepest(nudged(slope, active, sources), "l2")
            change = at - original + annealed(self.step, self.step / 100, done, self.steps) * unit
            current[active] = (original + project(change, norm, radius[active])).clamp(0, 1)
        at = current[active]
        distance = length(at - images[active], norm)
        best.offer(active, at, -distance, reached(model, at, goal, active))
        moved = best.or_last(current)
        if not self.rescale_steps:
            return moved
        finishing = relay.as_part(self.steps, self.steps)
        return rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)


def _check_gamma(gamma: float) -> None:
    if not 0 < gamma < 1:
        raise ValueError(f"gamma: expected a share between 0 and 1, found {gamma}")


def _rounded(images: Images, levels: int) -> Images:
    """The nearest of ``levels`` values from 0 to 1; 256 are those of an 8-bit file, to the bit."""
    if levels == 0:
        return images
    # Divided by a tensor: a GPU multiplies by a number's reciprocal, and misses the last bit.
    top = torch.full((), levels - 1.0, dtype=images.dtype, device=images.device)
    return (images * top).round() / top
