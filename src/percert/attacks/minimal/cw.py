"""Carlini and Wagner's l2 attack: distance plus a multiple of the missing margin (2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, noise_like, phases, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.minimal.ascent import rescale
from percert.attacks.nearest import Nearest, clearly, reached
from percert.attacks.transport.cost import without_nan
from percert.tensors import Images, Vector, l2_norm

#: Pixels at 0 or 1 have no finite place in tanh's range: everything is drawn in by this share.
INWARD = 1 - 1e-6


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """See :func:`carlini_wagner`; ``rescale_steps`` bisections take it to 8 bits, 0 for none."""

    search_steps: int = 9
    steps: int = 1000
    rate: float = 0.01
    const: float = 1e-3
    abort_early: bool = True
    rescale_steps: int = 8

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate), ("const", self.const)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: expected a finite number above 0, found {value}")

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
        iterating, finishing = phases(watch, self.search_steps * self.steps)
        moved = carlini_wagner(
            model,
            images,
            goal,
            search_steps=self.search_steps,
            steps=self.steps,
            rate=self.rate,
            const=self.const,
            abort_early=self.abort_early,
            seeds=seeds,
            watch=iterating,
        )
        if self.rescale_steps:
            moved = rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)
        return moved


def carlini_wagner(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    search_steps: int = 9,
    steps: int = 1000,
    rate: float = 0.01,
    const: float = 1e-3,
    abort_early: bool = True,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The image nearest in l2 that reaches the goal, of those met on the way.

    Minimises |x' - x|^2 + c max(0, -margin) over w, x' = (tanh w + 1) / 2, by Adam at ``rate``, for
    ``search_steps`` values of c, each image its own: from ``const``, times 10 until one succeeds,
    then bisected. ``abort_early``: an image whose objective has not fallen by 1e-4 of itself in a
    tenth of the ``steps`` leaves this round. Images at the goal to begin with come back unchanged.
    Raises ``ValueError`` for a goal that cannot be reached.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary, 0.5, is at l2 0.1 sqrt(48) = 0.693
    >>> moved = carlini_wagner(model, grey, Untargeted(torch.tensor([0])), steps=100)
    >>> 0.692 < (moved - grey).norm().item() < 0.72
    True
    """
    goal = clearly(goal)
    nearest, last = Nearest(images), images.clone()
    everyone = torch.arange(len(images), device=images.device)
    rows = everyone[~reached(model, images, goal, everyone)]
    sources = generators(seeds, len(images))
    weight = images.new_full((len(images),), const)
    low, high = torch.zeros_like(weight), torch.full_like(weight, float("inf"))
    for search in range(search_steps):
        done = search * steps
        if not go_on(watch, done, search_steps * steps, len(rows)):
            break
        some = _Problem(images[rows], goal.select(rows), weight[rows], rows)
        hit = _minimise(
            model, some, nearest, last, sources,
            steps=steps, rate=rate, abort_early=abort_early,
            watch=watch, done=done, total=search_steps * steps,
        )  # fmt: skip
        if hit is None:
            break
        high[rows] = torch.where(hit, weight[rows], high[rows])
        low[rows] = torch.where(hit, low[rows], weight[rows])
        weight = torch.where(high.isfinite(), (low + high) / 2, 10 * weight)
    return nearest.or_last(last)


@dataclass(frozen=True, eq=False)
class _Problem:
    """One round: images, what to reach, the multiple c of each, and which ``rows`` these are."""

    images: Images
    goal: Goal
    weight: Vector
    rows: Tensor

    def select(self, index: Tensor) -> "_Problem":
        return _Problem(
            self.images[index], self.goal.select(index), self.weight[index], self.rows[index]
        )


def _minimise(
    model: Model,
    problem: _Problem,
    nearest: Nearest,
    last: Images,
    sources: list[torch.Generator],
    *,
    steps: int,
    rate: float,
    abort_early: bool,
    watch: Watch | None,
    done: int,
    total: int,
) -> Tensor | None:
    """Adam on the objective; which images it took to the goal, or ``None`` where told to stop."""
    place = ((2 * problem.images - 1) * INWARD).atanh()
    first, second = torch.zeros_like(place), torch.zeros_like(place)
    before = problem.images.new_full((len(place),), float("inf"))
    hit = torch.zeros(len(place), dtype=torch.bool, device=place.device)
    active = torch.arange(len(place), device=place.device)
    every = max(1, steps // 10)
    for step in range(steps):
        if not len(active):
            break
        if step and not go_on(watch, done + step, total, len(active)):
            return None
        some = problem.select(active)
        slope, at, value, there = _objective(model, some, place[active])
        nearest.offer(some.rows, at, l2_norm(at - some.images), there)
        last[some.rows] = at
        if step % every == 0:  # what Adam's first long steps ran across says nothing of c
            hit[active] = False
        hit[active] |= there
        if step == 0:  # where neither term has a slope, Adam would stay for ever
            flat = (l2_norm(slope) == 0).nonzero()[:, 0]
            if len(flat):
                noise = noise_like(slope[flat], [sources[int(row)] for row in some.rows[flat]])
                slope[flat] = 1e-3 * noise
        first[active] = 0.9 * first[active] + 0.1 * slope
        second[active] = 0.999 * second[active] + 0.001 * slope.square()
        mean = first[active] / (1 - 0.9 ** (step + 1))
        spread = (second[active] / (1 - 0.999 ** (step + 1))).sqrt()
        place[active] = place[active] - rate * mean / (spread + 1e-8)
        if abort_early and step % every == every - 1:
            falling = value <= 0.9999 * before[active]
            before[active] = value
            active = active[falling]
    return hit


def _objective(
    model: Model, problem: _Problem, place: Tensor
) -> tuple[Tensor, Images, Vector, Tensor]:
    """Slope in w, the images there, the objective, and which of them reach the goal."""
    with torch.enable_grad():
        where = place.detach().requires_grad_(True)
        at = (where.tanh() + 1) / 2
        margin = problem.goal.margin(problem.goal.scores(model, at))
        square = (at - problem.images).flatten(1).square().sum(1)
        value = square + problem.weight * (-margin).clamp_min(0)
        (slope,) = torch.autograd.grad(value.sum(), where)
    return without_nan(slope), at.detach(), value.detach(), margin.detach() > 0
