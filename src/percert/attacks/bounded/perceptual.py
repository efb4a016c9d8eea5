"""LPA and PPGD: attacks within a perceptual distance (Laidlaw, Singla and Feizi 2021)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.steps import (
    Best,
    generators,
    loss_slope,
    noise_like,
    nudged,
    rescale,
    steepest,
    without_nan,
)
from percert.attacks.threat import Eps, check_eps, per_image
from percert.attacks.transport.cost import PROJECTIONS, PerceptualBall, Projection, cost_of
from percert.check import check_choice
from percert.metrics.full_reference.ssim_curvature import conjugate_gradients
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector, per_sample


@dataclass(frozen=True, kw_only=True)
class LPA:
    """Lagrangian perceptual attack: a penalty on what lies outside a perceptual ball (Algorithm 2).

    ``metric`` is ``"features"``, the attacked classifier's own, the name of a differentiable
    metric, or a metric; ``bound``, a number or one an image, is on its square root, or with
    ``root=False`` on itself. A bounded attack uses what it is allowed: most of its change is the
    random start, normal with deviation ``noise`` in each channel of each pixel.

    From there up the gradient of min(margin, ``kappa``) - lambda max(0, distance - bound). A step's
    length in the perceptual distance falls from the bound to a tenth of it in each of the
    ``rounds`` of ``steps``; how long that is in pixels says the distance at ``reach`` (l2) along
    the step. Lambda starts at ``multiplier``, and is ten times larger after a round that ends
    outside. An image is done once it reaches the goal inside the ball; the others are projected in
    the end. ``rescale_steps`` bisections then shrink what was found, 0 for none.
    """

    bound: Eps = 0.5
    metric: str | Distance = "features"
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
        check_eps(self.bound, "bound")
        check_choice(self.projection, PROJECTIONS, "projection")

    def threat(self, model: Model, images: Images) -> PerceptualBall:
        return PerceptualBall(cost_of(self.metric, images, model=model), self.bound, self.root)

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
        relay, total = Relay(watch), self.rounds * self.steps
        ball, bound = self.threat(model, images), per_image(self.bound, images, name="bound")
        best = Best(images)
        sources = generators(seeds, len(images))
        current = (images + self.noise * noise_like(images, sources)).clamp(0, 1)
        weight = images.new_full((len(images),), self.multiplier)
        outside = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        active = torch.arange(len(images), device=images.device)
        for done in range(total):
            if not go_on(relay, done, total, len(active)):
                break
            some, at = goal.select(active), current[active]
            slope, margin, excess = self._penalised(
                model, images[active], at, some, ball.select(active), weight[active]
            )
            outside[active] = excess > 0
            there = (margin > 0) & ~outside[active]
            best.offer(active[there], at[there], margin[there], there[there])
            active, slope, at = active[~there], slope[~there], at[~there]
            if not len(active):
                break
            size = bound[active] * 0.1 ** (done % self.steps / self.steps)
            unit = steepest(nudged(slope, active, sources), "l2")
            pace = ball.speed(at, unit, reach=self.reach).clamp_min(1e-4)
            current[active] = (at + per_sample(size / pace, unit) * unit).clamp(0, 1)
            if done % self.steps == self.steps - 1:
                weight = torch.where(outside, 10 * weight, weight)
        inside = ball.select(active).project(images[active], current[active], how=self.projection)
        current[active] = inside
        moved = best.or_last(current)
        finishing = relay.as_part(total, total)
        return rescale_inside(
            model, images, moved, goal, ball, steps=self.rescale_steps, watch=finishing
        )

    def _penalised(
        self,
        model: Model,
        images: Images,
        at: Images,
        goal: Goal,
        ball: PerceptualBall,
        weight: Vector,
    ) -> tuple[Tensor, Vector, Vector]:
        """The slope of the penalised objective, margins, and distances less the bound; detached."""
        with torch.enable_grad():
            at = at.detach().requires_grad_(True)
            margin = goal.margin(goal.scores(model, at))
            excess = ball.distance(images, at) - per_image(ball.bound, images)
            value = margin.clamp_max(self.kappa) - weight * excess.clamp_min(0)
            (slope,) = torch.autograd.grad(value.sum(), at)
        return without_nan(slope), margin.detach(), excess.detach()


@dataclass(frozen=True, kw_only=True)
class PPGD:
    """Perceptual PGD: projected steps of a given perceptual length (Algorithm 1).

    ``metric``, ``bound``, ``root``, ``noise`` and ``rescale_steps`` are those of :class:`LPA`; the
    random start is projected. Each step is the best one of perceptual length ``step`` (2 ``bound``
    / ``steps`` unless given) for the linearised margin: (J'J)^-1 g, J the Jacobian of what the
    distance compares, by ``conjugate_steps`` conjugate gradients on finite differences ``reach``
    (l2) apart. Then the image is projected into the ball. One whose margin is ``kappa`` is done;
    the best one met on the way comes back.
    """

    bound: Eps = 0.5
    metric: str | Distance = "features"
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
        check_eps(self.bound, "bound")
        check_choice(self.projection, PROJECTIONS, "projection")

    def threat(self, model: Model, images: Images) -> PerceptualBall:
        return PerceptualBall(cost_of(self.metric, images, model=model), self.bound, self.root)

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
        ball = self.threat(model, images)
        step = 2 * self.bound / self.steps if self.step is None else self.step
        length = per_image(step, images, name="bound")
        best = Best(images)
        sources = generators(seeds, len(images))
        current = (images + self.noise * noise_like(images, sources)).clamp(0, 1)
        active = torch.arange(len(images), device=images.device)
        current = ball.project(images, current, how=self.projection) if len(active) else current
        for done in range(self.steps + 1):
            if not go_on(relay, done, self.steps, len(active)):
                break
            some, at = goal.select(active), current[active]
            slope, scores = loss_slope(model, at, some, "margin")
            margin = some.margin(scores)
            best.offer(active, at, some.loss(scores), margin > 0)
            going = margin < self.kappa
            active, at = active[going], at[going]
            if done == self.steps or not len(active):
                break
            slope = steepest(nudged(slope[going], active, sources), "l2")
            # The direction of (J'J)^-1 slope.
            natural = conjugate_gradients(
                partial(ball.curvature, at, reach=self.reach),
                slope,
                iterations=self.conjugate_steps,
                going=partial(go_on, relay, done, self.steps, len(active)),
            )
            unit = steepest(natural, "l2")
            pace = ball.speed(at, unit, reach=self.reach).clamp_min(1e-4)
            at = (at + per_sample(length[active] / pace, unit) * unit).clamp(0, 1)
            inside = ball.select(active).project(images[active], at, how=self.projection)
            current[active] = inside
        finishing = relay.as_part(self.steps, self.steps)
        return rescale_inside(
            model, images, best.images, goal, ball, steps=self.rescale_steps, watch=finishing
        )


def rescale_inside(
    model: Model,
    images: Images,
    moved: Images,
    goal: Goal,
    ball: PerceptualBall,
    *,
    steps: int,
    watch: Watch | None = None,
) -> Images:
    """The least multiple of each change that reaches the goal in 8 bits, if that is in the ball.

    Where it is not, which is where the attack has failed or rounding leads outside, the image
    stays as it was ``moved``. ``steps`` 0 leaves all as they are.
    """
    if not steps or not len(images):
        return moved
    scaled = rescale(model, images, moved, goal, steps=steps, watch=watch)
    with torch.no_grad():
        inside = ball.distance(images, scaled) <= per_image(ball.bound, images)
    return torch.where(per_sample(inside, images), scaled, moved)
