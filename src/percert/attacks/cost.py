"""What an attack pays: a metric of the catalog as a cost, its value and its gradient."""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.attacks.goal import Model
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.metric import Metric
from percert.models.preparation import PreparedClassifier
from percert.tensors import Images, Vector


class SquaredL2:
    """c(x, x0) = ||x - x0||_2^2, the quadratic cost: its surrogate has closed forms.

    >>> SquaredL2()(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 2.0))
    tensor([12.])
    """

    def __call__(self, reference: Images, candidate: Images) -> Vector:
        return (candidate - reference).flatten(1).square().sum(1)


def cost_of(
    name: str, images: Images, *, model: Model | None = None, checkpoint: str | None = None
) -> Metric:
    """The cost called ``name``, on the device of ``images``.

    Any differentiable metric of the catalog; ``"squared-l2"``; and ``"features"``, the distance of
    the attacked classifier's own features (LPIPS without calibrated weights). Raises ``ValueError``
    for an unknown name, for a metric without a gradient, and for a ``checkpoint`` that is missing
    or not wanted.

    >>> black = torch.zeros(1, 3, 16, 16)
    >>> cost_of("ssim", black)(black, black)
    tensor([0.])
    """
    if name == "squared-l2":
        return SquaredL2()
    if name == "features":
        return _features_of(model)
    if not metric_card(name).differentiable:
        raise ValueError(f"cost: expected a differentiable metric, found {name!r}")
    return _made(name, checkpoint, str(images.device))


def cost_gradient(cost: Metric, reference: Images, candidate: Images) -> tuple[Tensor, Vector]:
    """The gradient of ``cost(reference, candidate)`` in the candidates, and the costs; detached.

    Where a metric has no gradient (NaN, as some have at identity) it counts as zero.
    """
    with torch.enable_grad():
        at = candidate.detach().requires_grad_(True)
        values = cost(reference, at)
        (slope,) = torch.autograd.grad(values.sum(), at)
    return without_nan(slope), values.detach().to(candidate.dtype)


@torch.no_grad()
def cost_values(cost: Metric, reference: Images, candidate: Images) -> Vector:
    """``cost(reference, candidate)``, ``(n,)``, in the images' precision."""
    return cost(reference, candidate).to(candidate.dtype)


def without_nan(slope: Tensor) -> Tensor:
    """A gradient with its NaN and infinite entries at zero."""
    return torch.where(slope.isfinite(), slope, torch.zeros_like(slope))


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


def _features_of(model: Model | None) -> Metric:
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
def _made(name: str, checkpoint: str | None, device: str) -> Metric:
    """Kept, since a network of weights must not be loaded anew for every batch."""
    made: Metric = create_metric(name, checkpoint, device)
    return made
