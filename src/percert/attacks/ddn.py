"""DDN: the direction and the length of an l2 perturbation, decoupled (Rony et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, phases
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.nearest import Nearest, annealed, clearly, reached
from percert.attacks.prepare import prepared
from percert.attacks.rescale import rescale
from percert.attacks.steps import steepest
from percert.attacks.surrogate import loss_slope, nudged
from percert.norms import l2_norm, per_sample
from percert.tensors import Images


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
