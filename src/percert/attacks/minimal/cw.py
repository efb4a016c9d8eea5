"""Carlini and Wagner's l2 attack: distance plus a multiple of the missing margin (2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.goal_through import clearly
from percert.attacks.steps import Best, generators, noise_like, reached, rescale, without_nan
from percert.tensors import Images, Vector, l2_norm

#: Pixels at 0 or 1 have no finite place in tanh's range: everything is drawn in by this share.
INWARD = 1 - 1e-6


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """The image nearest in l2 that reaches the goal, of those met on the way.

    Minimises |x' - x|^2 + c max(0, -margin) over w, x' = (tanh w + 1) / 2, by Adam at ``rate``, for
    ``search_steps`` values of c, each image its own: from ``const``, times 10 until one succeeds,
    then bisected. ``abort_early``: an image whose objective has not fallen by 1e-4 of itself in a
    tenth of the ``steps`` leaves this round. Images at the goal to begin with come back unchanged.
    ``rescale_steps`` bisections take what was found to 8 bits, 0 for none. Raises ``ValueError``
    for a goal that cannot be reached.

    >>> model = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> grey = torch.full((1, 3, 4, 4), 0.6)  # the boundary, 0.5, is at l2 0.1 sqrt(48) = 0.693
    >>> moved = CarliniWagner(steps=100, rescale_steps=0)(model, grey, torch.tensor([0]))
    >>> 0.692 < (moved - grey).norm().item() < 0.72
    True
    """

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
        goal, relay, total = clearly(goal), Relay(watch), self.search_steps * self.steps
        best, last = Best(images), images.clone()
        everyone = torch.arange(len(images), device=images.device)
        rows = everyone[~reached(model, images, goal, everyone)]
        sources = generators(seeds, len(images))
        weight = images.new_full((len(images),), self.const)
        low, high = torch.zeros_like(weight), torch.full_like(weight, float("inf"))
        for search in range(self.search_steps):
            done = search * self.steps
            if not go_on(relay, done, total, len(rows)):
                break
            some = _Problem(images[rows], goal.select(rows), weight[rows], rows)
            counting = relay.as_part(done, total, counting=True)
            hit = self._minimise(model, some, best, last, sources, counting)
            if relay.stopped:
                break
            high[rows] = torch.where(hit, weight[rows], high[rows])
            low[rows] = torch.where(hit, low[rows], weight[rows])
            weight = torch.where(high.isfinite(), (low + high) / 2, 10 * weight)
        moved = best.or_last(last)
        if not self.rescale_steps:
            return moved
        finishing = relay.as_part(total, total)
        return rescale(model, images, moved, goal, steps=self.rescale_steps, watch=finishing)

    def _minimise(
        self,
        model: Model,
        problem: "_Problem",
        best: Best,
        last: Images,
        sources: list[torch.Generator],
        watch: Watch,
    ) -> Tensor:
        """Adam on the objective; which images it took to the goal."""
        place = ((2 * problem.images - 1) * INWARD).atanh()
        first, second = torch.zeros_like(place), torch.zeros_like(place)
        before = problem.images.new_full((len(place),), float("inf"))
        hit = torch.zeros(len(place), dtype=torch.bool, device=place.device)
        active = torch.arange(len(place), device=place.device)
        every = max(1, self.steps // 10)
        for step in range(self.steps):
            if not len(active) or (step and not go_on(watch, step, self.steps, len(active))):
                break
            some = problem.select(active)
            slope, at, value, there = some.objective(model, place[active])
            best.offer(some.rows, at, -l2_norm(at - some.images), there)
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
            place[active] = place[active] - self.rate * mean / (spread + 1e-8)
            if self.abort_early and step % every == every - 1:
                falling = value <= 0.9999 * before[active]
                before[active] = value
                active = active[falling]
        return hit


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

    def objective(self, model: Model, place: Tensor) -> tuple[Tensor, Images, Vector, Tensor]:
        """Slope in w, the images there, the objective, and which of them reach the goal."""
        with torch.enable_grad():
            where = place.detach().requires_grad_(True)
            at = (where.tanh() + 1) / 2
            margin = self.goal.margin(self.goal.scores(model, at))
            square = (at - self.images).flatten(1).square().sum(1)
            value = square + self.weight * (-margin).clamp_min(0)
            (slope,) = torch.autograd.grad(value.sum(), where)
        return without_nan(slope), at.detach(), value.detach(), margin.detach() > 0
