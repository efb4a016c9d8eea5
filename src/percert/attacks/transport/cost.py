"""Perceptual metrics as costs of an attack, and the balls of images within one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.attacks.attack import for_images
from percert.attacks.goal import Model
from percert.attacks.steps import without_nan
from percert.attacks.threat import Eps, check_eps, per_image
from percert.check import check_choice
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.metric import Distance
from percert.models.card import PreparedClassifier
from percert.tensors import Images, Vector, l2_norm, per_sample


class SquaredL2:
    """c(x, x0) = ||x - x0||_2^2, the quadratic cost: its surrogate has closed forms.

    >>> SquaredL2()(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 2.0))
    tensor([12.])
    """

    def __call__(self, reference: Images, candidate: Images) -> Vector:
        return (candidate - reference).flatten(1).square().sum(1)


def cost_of(
    cost: str | Distance,
    images: Images,
    *,
    model: Model | None = None,
    checkpoint: str | None = None,
) -> Distance:
    """The cost of that name, on the device of ``images``; a metric is its own cost.

    Any differentiable metric of the catalog; ``"squared-l2"``; and ``"features"``, the distance of
    the attacked classifier's own features (LPIPS without calibrated weights). Raises ``ValueError``
    for an unknown name, for a metric without a gradient, and for a ``checkpoint`` that is missing
    or not wanted.

    >>> black = torch.zeros(1, 3, 16, 16)
    >>> cost_of("ssim", black)(black, black)
    tensor([0.])
    """
    if not isinstance(cost, str):
        return cost
    if cost == "squared-l2":
        return SquaredL2()
    if cost == "features":
        return _features_of(model)
    if not metric_card(cost).differentiable:
        raise ValueError(f"cost: expected a differentiable metric, found {cost!r}")
    return _made(cost, checkpoint, str(images.device))


def cost_gradient(cost: Distance, reference: Images, candidate: Images) -> tuple[Tensor, Vector]:
    """The gradient of ``cost(reference, candidate)`` in the candidates, and the costs; detached.

    Where a metric has no gradient (NaN, as some have at identity) it counts as zero.
    """
    with torch.enable_grad():
        at = candidate.detach().requires_grad_(True)
        values = cost(reference, at)
        (slope,) = torch.autograd.grad(values.sum(), at)
    return without_nan(slope), values.detach().to(candidate.dtype)


@torch.no_grad()
def cost_values(cost: Distance, reference: Images, candidate: Images) -> Vector:
    """``cost(reference, candidate)``, ``(n,)``, in the images' precision."""
    return cost(reference, candidate).to(candidate.dtype)


class FeatureDistance:
    """An LPIPS without calibrated weights, over what ``layers(images)`` gives.

    The sum over layers of the mean over positions of the squared distance of feature vectors of
    unit length.
    """

    def __init__(self, layers: Callable[[Images], list[Tensor]]) -> None:
        self.layers = layers

    def __call__(self, reference: Images, candidate: Images) -> Vector:
        with torch.no_grad():
            wanted = self.layers(reference)
        total = candidate.new_zeros(len(candidate))
        for one, other in zip(wanted, self.layers(candidate), strict=True):
            change = F.normalize(one, dim=1, eps=1e-10) - F.normalize(other, dim=1, eps=1e-10)
            total = total + change.square().sum(1).flatten(1).mean(1)
        return total


def _features_of(model: Model | None) -> Distance:
    """The cost of the features that ``model.layers`` gives, counted model calls not included."""
    attacked = getattr(model, "model", model)
    layers = getattr(attacked, "layers", None)
    if isinstance(attacked, PreparedClassifier):
        inner = getattr(attacked.network, "layers", None)
        if callable(inner) and not isinstance(inner, nn.Module):  # some call a part of theirs so
            return FeatureDistance(lambda images: inner(attacked.preparation(images)))
    if layers is None:
        found = type(getattr(attacked, "network", attacked)).__name__
        raise ValueError(f"cost features: expected a classifier with layers(images), found {found}")
    return FeatureDistance(layers)


@lru_cache(maxsize=8)
def _made(name: str, checkpoint: str | None, device: str) -> Distance:
    """Kept, since a network of weights must not be loaded anew for every batch."""
    made: Distance = create_metric(name, checkpoint, device)
    return made


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
    grow with the square of a small change want, and otherwise the metric itself. ``bound`` is a
    number, or one an image ``(n,)``. (Laidlaw, Singla and Feizi 2021.)
    """

    metric: Distance
    bound: Eps
    root: bool = True

    def __post_init__(self) -> None:
        check_eps(self.bound, "bound")

    def select(self, index: Tensor) -> "PerceptualBall":
        """The ball of the images at ``index``."""
        return for_images(self, index)

    def within(self, reference: Images, candidate: Images) -> Tensor:
        """Whether each candidate is in the ball, ``(n,)``: the threat of an attack with a bound."""
        bound = per_image(self.bound, reference, torch.float64, name="bound")
        return self._measured(reference, candidate) <= bound * (1 + ROUNDING)

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
        result, bound = candidate.clone(), per_image(self.bound, reference, name="bound")
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
            excess = distance - bound[outside]
            over = excess > 0
            outside = outside[over]
            if slope is not None:
                slope, excess = slope[over], excess[over] * (1 + OVERSHOOT)
                square = slope.flatten(1).square().sum(1).clamp_min(1e-30)
                nearer = some[over] - per_sample(excess / square, slope) * slope
                result[outside] = nearer.clamp(0, 1)
        # On the line to the reference, by bisection.
        origin, bound = reference[outside], bound[outside]
        change = candidate[outside] - origin
        low, high = torch.zeros_like(bound), torch.ones_like(bound)
        for _ in range(steps if len(outside) else 0):
            middle = (low + high) / 2
            at = (origin + per_sample(middle, change) * change).clamp(0, 1)
            inside = self._measured(origin, at) <= bound
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        result[outside] = (origin + per_sample(low, change) * change).clamp(0, 1)
        return result

    @torch.no_grad()
    def _measured(self, reference: Images, candidate: Images) -> Vector:
        return self.distance(reference, candidate)


def _room(at: Images, step: Tensor) -> Images:
    """``at``, drawn in from 0 and 1 just enough for the ``step`` to stay inside."""
    edge = step.flatten(1).abs().amax(1).clamp_max(0.5)
    low = per_sample(edge, at)
    return torch.minimum(torch.maximum(at, low), 1 - low)
