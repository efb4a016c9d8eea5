"""PerC-AL: steps on the loss and on the colour difference by turns (Zhao, Liu and Larson 2020)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, phases, prepared
from percert.attacks.goal import Goal, LossName, Model, Targeted
from percert.attacks.minimal.ascent import rescale
from percert.attacks.nearest import Nearest, annealed, clearly, reached
from percert.attacks.steps import steepest
from percert.attacks.transport.cost import cost_gradient
from percert.attacks.transport.surrogate import loss_slope, nudged
from percert.color import ciede2000, srgb_to_lab
from percert.images import round_to_8bit
from percert.tensors import Images, Vector, l2_norm


@dataclass(frozen=True, kw_only=True)
class PerCAL:
    """See :func:`perc_al`; ``rescale_steps`` bisections then shrink what it found, 0 for none."""

    steps: int = 1000
    loss_step: float = 1.0
    color_step: float | None = None
    loss: LossName = "cross-entropy"
    rescale_steps: int = 0

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
        moved = perc_al(
            model,
            images,
            goal,
            steps=self.steps,
            loss_step=self.loss_step,
            color_step=self.color_step,
            loss=self.loss,
            seeds=seeds,
            watch=iterating,
        )
        if self.rescale_steps:
            moved = rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)
        return moved


def perc_al(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    steps: int = 1000,
    loss_step: float = 1.0,
    color_step: float | None = None,
    loss: LossName = "cross-entropy",
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The 8-bit image of least colour difference that reaches the goal, of those met on the way.

    An image whose rounding misses the goal takes a step of l2 length ``loss_step`` up the loss, any
    other one of ``color_step`` down the colour difference, the l2 norm of CIEDE2000 over pixels
    (Algorithm 2). Both lengths fall along half a cosine, to a hundredth and to a tenth. Without
    ``color_step`` it is the authors': 0.5 towards a target, and 0.1 otherwise. Images at the goal
    to begin with come back unchanged. Raises ``ValueError`` for a goal that cannot be reached.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)
    >>> moved = perc_al(model, grey, Untargeted(torch.tensor([0])), steps=50)
    >>> 0.49 < moved.mean().item() < 0.5
    True
    """
    goal = clearly(goal)
    if color_step is None:
        color_step = 0.5 if _is_targeted(goal) else 0.1
    nearest, current = Nearest(images), images.clone()
    sources = generators(seeds, len(images))
    there = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    active = torch.arange(len(images), device=images.device)
    for done in range(steps):
        if not go_on(watch, done, steps, len(active)):
            break
        behind, ahead = active[~there[active]], active[there[active]]
        if len(behind):
            some = goal.select(behind)
            slope, scores = loss_slope(model, current[behind], some, loss, fallback=True)
            if done == 0:
                going = some.margin(scores) <= 0
                active, behind, slope = active[going], behind[going], slope[going]
            unit = steepest(nudged(slope, behind, sources), "l2")
            current[behind] += annealed(loss_step, loss_step / 100, done, steps) * unit
        if len(ahead):
            slope, distance = cost_gradient(_color_distance, images[ahead], current[ahead])
            nearest.offer(ahead, round_to_8bit(current[ahead]), distance, there[ahead])
            size = annealed(color_step, color_step / 10, done, steps)
            current[ahead] -= size * steepest(slope, "l2")
        current = current.clamp(0, 1)
        there[active] = reached(model, round_to_8bit(current[active]), goal, active)
    ahead = active[there[active]]
    distance = _color_distance(images[ahead], current[ahead])
    nearest.offer(ahead, round_to_8bit(current[ahead]), distance, there[ahead])
    return nearest.or_last(round_to_8bit(current))


def _color_distance(reference: Images, candidate: Images) -> Vector:
    """The l2 norm over pixels of CIEDE2000, ``(n,)``."""
    return l2_norm(ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate)))


def _is_targeted(goal: Goal) -> bool:
    while hasattr(goal, "goal"):
        goal = goal.goal
    return isinstance(goal, Targeted)
