"""PPGD: projected gradient steps of a given perceptual length (Laidlaw, Singla and Feizi 2021)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, gradient, noise_like, phases
from percert.attacks.cost import without_nan
from percert.attacks.goal import Goal, Model
from percert.attacks.perceptual_ball import (
    PROJECTIONS,
    PerceptualBall,
    Projection,
    perceptual_ball,
    rescale_inside,
)
from percert.attacks.prepare import prepared
from percert.attacks.steps import Found, steepest
from percert.attacks.surrogate import nudged
from percert.attacks.threat import Threat
from percert.check import check_budget, check_choice
from percert.metrics.conjugate_gradients import conjugate_gradients
from percert.norms import per_sample
from percert.tensors import Images


@dataclass(frozen=True, kw_only=True)
class PerceptualPGD:
    """See :func:`ppgd`; ``rescale_steps`` bisections then shrink what it found, 0 for none.

    ``metric`` is ``"features"``, the attacked classifier's own, or the name of a differentiable
    metric; ``bound`` is on its square root, or with ``root=False`` on itself. A bounded attack uses
    what it is allowed: most of its change is the random start. ``step`` is 2 ``bound`` / ``steps``
    unless given.
    """

    bound: float = 0.5
    metric: str = "features"
    root: bool = True
    steps: int = 40
    step: float | None = None
    conjugate_steps: int = 5
    noise: float = 0.01
    reach: float = 0.05
    kappa: float = 1.0
    projection: Projection = "newton"
    rescale_steps: int = 0

    def __post_init__(self) -> None:
        check_budget(self.bound, "bound")
        check_choice(self.projection, PROJECTIONS, "projection")

    def threat(self, model: Model, images: Images) -> Threat:
        return perceptual_ball(self.metric, self.bound, self.root, images, model)

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
        ball = perceptual_ball(self.metric, self.bound, self.root, images, model)
        moved = ppgd(
            model,
            images,
            goal,
            ball,
            steps=self.steps,
            step=2 * self.bound / self.steps if self.step is None else self.step,
            conjugate_steps=self.conjugate_steps,
            noise=self.noise,
            reach=self.reach,
            kappa=self.kappa,
            projection=self.projection,
            seeds=seeds,
            watch=iterating,
        )
        return rescale_inside(
            model, images, moved, goal, ball, steps=self.rescale_steps, watch=finishing
        )


def ppgd(
    model: Model,
    images: Images,
    goal: Goal,
    ball: PerceptualBall,
    *,
    steps: int = 40,
    step: float = 0.025,
    conjugate_steps: int = 5,
    noise: float = 0.01,
    reach: float = 0.05,
    kappa: float = 1.0,
    projection: Projection = "newton",
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """Images of the ball whose margin is as large as can be, up to ``kappa`` (Algorithm 1).

    From a random start, normal with deviation ``noise`` in each channel of each pixel, projected.
    Each step is the best one of perceptual length ``step`` for the linearised margin: (J'J)^-1 g,
    J the Jacobian of what the distance compares, by ``conjugate_steps`` conjugate gradients on
    finite differences ``reach`` (l2) apart. Then the image is projected into the ball. One whose
    margin is ``kappa`` is done; the best one met on the way comes back.
    """
    found = Found(images)
    sources = generators(seeds, len(images))
    current = (images + noise * noise_like(images, sources)).clamp(0, 1)
    active = torch.arange(len(images), device=images.device)
    current = ball.project(images, current, how=projection) if len(active) else current
    for done in range(steps + 1):
        if not go_on(watch, done, steps, len(active)):
            break
        some, at = goal.select(active), current[active]
        slope, scores = gradient(model, at, some, lambda scores, some=some: some.loss(scores))  # type: ignore[misc]
        margin = some.margin(scores)
        found.offer(active, at, some.loss(scores), margin > 0)
        going = margin < kappa
        active, at = active[going], at[going]
        if done == steps or not len(active):
            break
        slope = nudged(without_nan(slope[going]), active, sources)
        unit = _natural(
            ball, at, slope, conjugate_steps, reach, partial(go_on, watch, done, steps, len(active))
        )
        pace = ball.speed(at, unit, reach=reach).clamp_min(1e-4)
        at = (at + per_sample(step / pace, unit) * unit).clamp(0, 1)
        current[active] = ball.project(images[active], at, how=projection)
    return found.images


def _natural(
    ball: PerceptualBall,
    at: Images,
    slope: Tensor,
    iterations: int,
    reach: float,
    going: Callable[[], bool],
) -> Tensor:
    """The direction of (J'J)^-1 ``slope``, of l2 length 1."""
    slope = steepest(slope, "l2")

    def operator(direction: Tensor) -> Tensor:
        return ball.curvature(at, direction, reach=reach)

    return steepest(conjugate_gradients(operator, slope, iterations=iterations, going=going), "l2")
