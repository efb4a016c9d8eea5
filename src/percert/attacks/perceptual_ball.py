"""Staying within a perceptual distance of an image (Laidlaw, Singla and Feizi 2021)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Watch
from percert.attacks.cost import cost_gradient, cost_of
from percert.attacks.goal import Goal, Model
from percert.attacks.rescale import rescale
from percert.check import check_budget, check_choice
from percert.metrics.metric import Metric
from percert.norms import l2_norm, per_sample
from percert.tensors import Images, Vector

Projection: TypeAlias = Literal["newton", "bisection"]
PROJECTIONS: tuple[Projection, ...] = ("newton", "bisection")
#: By what share the distance, a network's, may differ between batches: its sums are rounded there.
ROUNDING = 1e-4
#: By what share a Newton step goes beyond the edge of the ball that it foresees.
OVERSHOOT = 0.1


@dataclass(frozen=True, eq=False)
class PerceptualBall:
    """All images in [0, 1] whose ``distance`` from the reference is at most ``bound``.

    The distance is the square root of the ``metric`` where ``root`` is set, as LPIPS and all that
    grow with the square of a small change want, and otherwise the metric itself.
    """

    metric: Metric
    bound: float
    root: bool = True

    def __post_init__(self) -> None:
        check_budget(self.bound, "bound")

    def within(self, reference: Images, candidate: Images) -> Tensor:
        """Whether each candidate is in the ball, ``(n,)``: the threat of an attack with a bound."""
        return self._measured(reference, candidate) <= self.bound * (1 + ROUNDING)

    def distance(self, reference: Images, candidate: Images) -> Vector:
        """The distance, ``(n,)``, with a gradient of 0 where it is 0."""
        value = self.metric(reference, candidate).to(candidate.dtype)
        if not self.root:
            return value
        away = value > 0
        return torch.where(away, torch.where(away, value, 1).sqrt(), 0)

    def square(self, reference: Images, candidate: Images) -> Vector:
        """The square of the distance, ``(n,)``, which is smooth at the reference."""
        value = self.metric(reference, candidate).to(candidate.dtype)
        return value if self.root else value.square()

    def curvature(self, at: Images, direction: Tensor, *, reach: float) -> Tensor:
        """J'J ``direction``, with J the Jacobian in ``at`` of what the distance compares.

        That is half the Hessian of :meth:`square` at its own reference: the gradient there is 0, so
        a difference of gradients is the one gradient at a distance of ``reach`` (l2) from it.
        """
        size = l2_norm(direction).clamp_min(1e-30)
        step = direction * per_sample(reach / size, direction)
        base = _room(at, step)
        slope, _ = cost_gradient(self.square, base, base + step)
        return slope * per_sample(size / (2 * reach), slope)

    def speed(self, at: Images, direction: Tensor, *, reach: float) -> Vector:
        """The distance from ``at`` per l2 length along a ``direction`` of length 1; ``(n,)``."""
        step = reach * direction
        base = _room(at, step)
        with torch.no_grad():
            return self.distance(base, base + step) / reach

    def project(
        self,
        reference: Images,
        candidate: Images,
        *,
        how: Projection = "newton",
        steps: int = 10,
    ) -> Images:
        """An image of the ball near each candidate; those inside stay as they are.

        ``"newton"``: steps along the distance's gradient to where it foresees the edge, and a tenth
        further. ``"bisection"``: on the line to the reference, also for those that Newton leaves
        outside. What comes back has been measured to be inside.
        """
        check_choice(how, PROJECTIONS, "projection")
        result = candidate.clone()
        outside = torch.arange(len(candidate), device=candidate.device)
        for step in range(steps + 1 if how == "newton" else 1):
            if not len(outside):
                return result
            some = result[outside]
            slope, distance = (
                cost_gradient(self.distance, reference[outside], some)
                if how == "newton" and step < steps
                else (None, self._measured(reference[outside], some))
            )
            over = distance > self.bound
            outside = outside[over]
            if slope is not None:
                slope, excess = slope[over], (distance - self.bound)[over] * (1 + OVERSHOOT)
                square = slope.flatten(1).square().sum(1).clamp_min(1e-30)
                result[outside] = (
                    some[over] - per_sample(excess / square, slope) * slope
                ).clamp(0, 1)  # fmt: skip
        result[outside] = self._bisected(reference[outside], candidate[outside], steps)
        return result

    def _bisected(self, reference: Images, candidate: Images, steps: int) -> Images:
        low = reference.new_zeros(len(reference))
        high = torch.ones_like(low)
        change = candidate - reference
        for _ in range(steps if len(low) else 0):
            middle = (low + high) / 2
            at = (reference + per_sample(middle, change) * change).clamp(0, 1)
            inside = self._measured(reference, at) <= self.bound
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        return (reference + per_sample(low, change) * change).clamp(0, 1)

    @torch.no_grad()
    def _measured(self, reference: Images, candidate: Images) -> Vector:
        return self.distance(reference, candidate)


def perceptual_ball(
    metric: str, bound: float, root: bool, images: Images, model: Model
) -> PerceptualBall:
    """The ball of a metric by name, on the device of ``images``.

    ``metric``: ``"features"``, an LPIPS without calibrated weights over the attacked classifier's
    own features, or a differentiable metric of the catalog. Raises ``ValueError`` for another.
    """
    return PerceptualBall(cost_of(metric, images, model=model), bound, root)


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
        inside = ball.distance(images, scaled) <= ball.bound
    return torch.where(per_sample(inside, images), scaled, moved)


def _room(at: Images, step: Tensor) -> Images:
    """``at``, drawn in from 0 and 1 just enough for the ``step`` to stay inside."""
    edge = step.flatten(1).abs().amax(1).clamp_max(0.5)
    low = per_sample(edge, at)
    return torch.minimum(torch.maximum(at, low), 1 - low)
