"""LPA and PPGD: attacks within a perceptual distance (Laidlaw, Singla and Feizi 2021).

LPA: the Lagrangian perceptual attack (Laidlaw, Singla and Feizi 2021).

PPGD: projected gradient steps of a given perceptual length (Laidlaw, Singla and Feizi 2021).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, gradient, noise_like, phases, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.steps import Found, steepest
from percert.attacks.threat import Threat
from percert.attacks.transport.cost import (
    PROJECTIONS,
    PerceptualBall,
    Projection,
    perceptual_ball,
    rescale_inside,
    without_nan,
)
from percert.attacks.transport.surrogate import nudged
from percert.check import check_budget, check_choice
from percert.metrics.full_reference.ssim_curvature import conjugate_gradients
from percert.tensors import Images, Vector, per_sample


@dataclass(frozen=True, kw_only=True)
class LPA:
    """See :func:`lpa`; ``rescale_steps`` bisections then shrink what it found, 0 for none.

    ``metric`` is ``"features"``, the attacked classifier's own, or the name of a differentiable
    metric; ``bound`` is on its square root, or with ``root=False`` on itself. A bounded attack uses
    what it is allowed: most of its change is the random start.
    """

    bound: float = 0.5
    metric: str = "features"
    root: bool = True
    rounds: int = 5
    steps: int = 40
    multiplier: float = 0.01
    noise: float = 0.01
    reach: float = 0.1
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
        iterating, finishing = phases(watch, self.rounds * self.steps)
        ball = perceptual_ball(self.metric, self.bound, self.root, images, model)
        moved = lpa(
            model,
            images,
            goal,
            ball,
            rounds=self.rounds,
            steps=self.steps,
            multiplier=self.multiplier,
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


def lpa(
    model: Model,
    images: Images,
    goal: Goal,
    ball: PerceptualBall,
    *,
    rounds: int = 5,
    steps: int = 40,
    multiplier: float = 0.01,
    noise: float = 0.01,
    reach: float = 0.1,
    kappa: float = 1.0,
    projection: Projection = "newton",
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """Images of the ball that reach the goal, by a penalty on what lies outside (Algorithm 2).

    From a random start, normal with deviation ``noise`` in each channel of each pixel, up the
    gradient of min(margin, ``kappa``) - lambda max(0, distance - bound). A step's length in the
    perceptual distance falls from the bound to a tenth of it in each of the ``rounds`` of
    ``steps``; how long that is in pixels says the distance at ``reach`` (l2) along the step. Lambda
    starts at ``multiplier``, and is ten times larger after a round that ends outside. An image is
    done once it reaches the goal inside the ball; the others are projected in the end.
    """
    found = Found(images)
    sources = generators(seeds, len(images))
    current = (images + noise * noise_like(images, sources)).clamp(0, 1)
    weight = images.new_full((len(images),), multiplier)
    outside = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    active = torch.arange(len(images), device=images.device)
    for done in range(rounds * steps):
        if not go_on(watch, done, rounds * steps, len(active)):
            break
        some, at = goal.select(active), current[active]
        slope, margin, distance = _penalised(
            model, images[active], at, some, ball, weight[active], kappa
        )
        outside[active] = distance > ball.bound
        there = (margin > 0) & ~outside[active]
        found.offer(active[there], at[there], margin[there], there[there])
        active, slope, at = active[~there], slope[~there], at[~there]
        if not len(active):
            break
        size = ball.bound * 0.1 ** (done % steps / steps)
        unit = steepest(nudged(slope, active, sources), "l2")
        pace = ball.speed(at, unit, reach=reach).clamp_min(1e-4)
        current[active] = (at + per_sample(size / pace, unit) * unit).clamp(0, 1)
        if done % steps == steps - 1:
            weight = torch.where(outside, 10 * weight, weight)
    current[active] = ball.project(images[active], current[active], how=projection)
    return torch.where(per_sample(found.reached, images), found.images, current)


def _penalised(
    model: Model,
    images: Images,
    at: Images,
    goal: Goal,
    ball: PerceptualBall,
    weight: Vector,
    kappa: float,
) -> tuple[Tensor, Vector, Vector]:
    """The slope of the penalised objective, the margins and the distances; detached."""
    with torch.enable_grad():
        at = at.detach().requires_grad_(True)
        margin = goal.margin(goal.scores(model, at))
        distance = ball.distance(images, at)
        value = margin.clamp_max(kappa) - weight * (distance - ball.bound).clamp_min(0)
        (slope,) = torch.autograd.grad(value.sum(), at)
    return without_nan(slope), margin.detach(), distance.detach()


@dataclass(frozen=True, kw_only=True)
class PPGD:
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
