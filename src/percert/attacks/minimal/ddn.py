"""DDN and FMN: steps within a ball that shrinks after a success and grows after a failure.

DDN: the direction and the length of an l2 perturbation, decoupled (Rony et al. 2019).

FMN: the smallest change in l1, l2 or linf by steps inside a moving ball (Pintor et al. 2021).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, phases, prepared
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.minimal.ascent import rescale
from percert.attacks.nearest import Nearest, annealed, clearly, reached
from percert.attacks.steps import steepest
from percert.attacks.threat import Norm, length, project_l1
from percert.attacks.transport.surrogate import loss_slope, nudged
from percert.check import check_choice
from percert.tensors import Images, Vector, l2_norm, per_sample, project_l2


@dataclass(frozen=True, kw_only=True)
class DDN:
    """See :func:`ddn`; ``rescale_steps`` bisections then shrink what it found, 0 for none.

    With 256 ``levels`` what it finds is an 8-bit image already.
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
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma: expected a share between 0 and 1, found {self.gamma}")

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
        moved = ddn(
            model,
            images,
            goal,
            steps=self.steps,
            gamma=self.gamma,
            length=self.length,
            levels=self.levels,
            loss=self.loss,
            seeds=seeds,
            watch=iterating,
        )
        if self.rescale_steps:
            moved = rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)
        return moved


def ddn(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    steps: int = 100,
    gamma: float = 0.05,
    length: float = 1.0,
    levels: int = 256,
    loss: LossName = "cross-entropy",
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The image nearest in l2 that reaches the goal, of those met on the way (Algorithm 1).

    Every step moves the perturbation along the unit gradient, by 1 at first and 0.01 at last, then
    gives it the l2 length of its image, which shrinks by the share ``gamma`` after a success and
    grows by it after a failure, from ``length``. Each iterate is rounded to ``levels`` levels, not
    at all for 0. All steps are taken for every image, but for those that are at the goal to begin
    with: these come back unchanged. Raises ``ValueError`` for a goal that cannot be reached.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary, 0.5, is at l2 0.1 sqrt(48) = 0.693
    >>> moved = ddn(model, grey, Untargeted(torch.tensor([0])), levels=0)
    >>> 0.692 < (moved - grey).norm().item() < 0.72
    True
    """
    goal = clearly(goal)
    nearest, current = Nearest(images), images.clone()
    sources = generators(seeds, len(images))
    size = images.new_full((len(images),), length)
    farthest = l2_norm(torch.maximum(images, 1 - images))
    active = torch.arange(len(images), device=images.device)
    for done in range(steps):
        if not go_on(watch, done, steps, len(active)):
            break
        some = goal.select(active)
        slope, scores = loss_slope(model, current[active], some, loss, fallback=True)
        there = some.margin(scores) > 0
        if done == 0:
            active, slope, there = active[~there], slope[~there], there[~there]
        original, at = images[active], current[active]
        nearest.offer(active, at, l2_norm(at - original), there)
        size[active] *= torch.where(there, 1 - gamma, 1 + gamma)
        size = torch.minimum(size, farthest)
        unit = steepest(nudged(slope, active, sources), "l2")
        change = steepest(at - original + annealed(1.0, 0.01, done, steps) * unit, "l2")
        at = (original + per_sample(size[active], change) * change).clamp(0, 1)
        current[active] = _rounded(at, levels)
    at = current[active]
    nearest.offer(active, at, l2_norm(at - images[active]), reached(model, at, goal, active))
    return nearest.or_last(current)


def _rounded(images: Images, levels: int) -> Images:
    """The nearest of ``levels`` values from 0 to 1; 256 are those of an 8-bit file, to the bit."""
    if levels == 0:
        return images
    # Divided by a tensor: a GPU multiplies by a number's reciprocal, and misses the last bit.
    top = torch.full((), levels - 1.0, dtype=images.dtype, device=images.device)
    return (images * top).round() / top


#: The norm whose length turns a loss and its gradient into a distance to the boundary (Hölder).
DUAL: dict[Norm, Norm] = {"l1": "linf", "l2": "l2", "linf": "l1"}


@dataclass(frozen=True, kw_only=True)
class FMN:
    """See :func:`fmn`; ``rescale_steps`` bisections take what it found to 8 bits, 0 for none."""

    norm: Norm = "l2"
    steps: int = 100
    step: float = 1.0
    gamma: float = 0.05
    rescale_steps: int = 8

    def __post_init__(self) -> None:
        check_choice(self.norm, ("l1", "l2", "linf"), "norm")
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma: expected a share between 0 and 1, found {self.gamma}")

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
        moved = fmn(
            model,
            images,
            goal,
            norm=self.norm,
            steps=self.steps,
            step=self.step,
            gamma=self.gamma,
            seeds=seeds,
            watch=iterating,
        )
        if self.rescale_steps:
            moved = rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)
        return moved


def fmn(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    norm: Norm = "l2",
    steps: int = 100,
    step: float = 1.0,
    gamma: float = 0.05,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The image nearest in ``norm`` that reaches the goal, of those met on the way (Algorithm 1).

    Every step goes along the margin's unit gradient, ``step`` long in l2 at first and a hundredth
    of it at last, and is projected into a ball around the original. Its radius is, until a first
    success, the distance to the boundary as the gradient foretells it; after that it shrinks by the
    share ``gamma`` (which falls to 0.001) after a success, and grows by it after a failure. All
    steps are taken for every image, but for those that are at the goal to begin with: these come
    back unchanged. Raises ``ValueError`` for a goal that cannot be reached.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary is at linf 0.1
    >>> moved = fmn(model, grey, Untargeted(torch.tensor([0])), norm="linf")
    >>> 0.0999 < (moved - grey).abs().max().item() < 0.101
    True
    """
    goal = clearly(goal)
    nearest, current = Nearest(images), images.clone()
    sources = generators(seeds, len(images))
    farthest = length(torch.maximum(images, 1 - images), norm)
    radius = farthest.clone()
    active = torch.arange(len(images), device=images.device)
    for done in range(steps):
        if not go_on(watch, done, steps, len(active)):
            break
        some = goal.select(active)
        slope, scores = loss_slope(model, current[active], some, "margin", fallback=True)
        margin = some.margin(scores)
        if done == 0:
            going = margin <= 0
            active, slope, margin = active[going], slope[going], margin[going]
        original, at, there = images[active], current[active], margin > 0
        distance = length(at - original, norm)
        nearest.offer(active, at, distance, there)
        share = annealed(gamma, 0.001, done, steps)
        foretold = distance + margin.abs() / length(slope, DUAL[norm]).clamp_min(1e-30)
        grown = torch.where(nearest.found[active], radius[active] * (1 + share), foretold)
        shrunk = torch.minimum(radius[active] * (1 - share), nearest.distance[active])
        radius[active] = torch.minimum(torch.where(there, shrunk, grown), farthest[active])
        unit = steepest(nudged(slope, active, sources), "l2")
        change = at - original + annealed(step, step / 100, done, steps) * unit
        current[active] = (original + _projected(change, norm, radius[active])).clamp(0, 1)
    at = current[active]
    distance = length(at - images[active], norm)
    nearest.offer(active, at, distance, reached(model, at, goal, active))
    return nearest.or_last(current)


def _projected(change: Tensor, norm: Norm, radius: Vector) -> Tensor:
    """The nearest point of each sample's ball of ``radius``."""
    if norm == "l1":
        return project_l1(change, radius)
    if norm == "l2":
        return project_l2(change, radius)
    edge = per_sample(radius, change)
    return torch.maximum(torch.minimum(change, edge), -edge)
