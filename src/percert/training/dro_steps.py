"""Several networks of one shape, each stepped on its own batches: as one by vmap, or in turn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from percert.models import PreparedClassifier

#: Layers that torch.func cannot carry many copies of: they change their own state, or draw.
STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Descent:
    """theta <- theta - rate v, v <- momentum v + gradient + weight_decay theta, as torch's SGD."""

    momentum: float = 0.0
    weight_decay: float = 5e-4


def can_stack(model: nn.Module) -> bool:
    """Whether :class:`Together` can train such models.

    >>> can_stack(nn.Linear(2, 2)), can_stack(nn.BatchNorm2d(2))
    (True, False)
    """
    return not any(isinstance(layer, STATEFUL) for layer in model.modules())


class InTurn:
    """Each model by itself, one after another."""

    def __init__(self, models: list[nn.Module], descent: Descent) -> None:
        self.models = models
        self.optimisers = [
            torch.optim.SGD(
                model.parameters(),
                lr=0.0,
                momentum=descent.momentum,
                weight_decay=descent.weight_decay,
            )
            for model in models
        ]

    def step(self, images: Tensor, labels: Tensor, weights: Tensor, rate: float) -> Tensor:
        """One step of each on its images ``(m, b, 3, h, w)``; the weighted losses, ``(m,)``."""
        found = []
        for model, optimiser, *batch in zip(
            self.models, self.optimisers, images, labels, weights, strict=True
        ):
            optimiser.param_groups[0]["lr"] = rate
            loss = weighted_loss(model(batch[0]), batch[1], batch[2])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            found.append(loss.detach())
        return torch.stack(found)

    def finish(self) -> list[nn.Module]:
        """The trained models."""
        return self.models


class Together:
    """All models as one: their weights stacked, their steps one call of ``vmap``."""

    def __init__(self, models: list[nn.Module], descent: Descent) -> None:
        if not all(map(can_stack, models)):
            raise ValueError(
                "models: batch normalisation and dropout cannot be trained together; train them "
                "one after another"
            )
        self.models, self.descent = models, descent
        # What a preparation does to images has no weights, and checks values, which vmap cannot.
        self.prepared = all(isinstance(model, PreparedClassifier) for model in models)
        inner: list[Any] = [model.network if self.prepared else model for model in models]
        weights, buffers = stack_module_state(inner)
        # vmap's convolutions want plain strides; loaded classifiers are channels last.
        self.weights = {name: value.detach().contiguous() for name, value in weights.items()}
        self.buffers = {name: value.detach() for name, value in buffers.items()}
        self.moving = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self.inner = inner
        self.slope = vmap(grad_and_value(_loss_of(inner[0])))
        self.begun = False

    def step(self, images: Tensor, labels: Tensor, weights: Tensor, rate: float) -> Tensor:
        """One step of each on its images ``(m, b, 3, h, w)``; the weighted losses, ``(m,)``."""
        if self.prepared:
            preparation = self.models[0].preparation
            assert isinstance(preparation, nn.Module)
            images = preparation(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        slopes, losses = self.slope(self.weights, self.buffers, images, labels, weights)
        keep = self.descent.momentum
        for name, value in self.weights.items():
            change = slopes[name] + self.descent.weight_decay * value
            if keep:
                if self.begun:
                    change = keep * self.moving[name] + change
                self.moving[name] = change
            self.weights[name] = value - rate * change
        self.begun = True
        found: Tensor = losses.detach()
        return found

    def finish(self) -> list[nn.Module]:
        """The trained models."""
        for place, model in enumerate(self.inner):
            state = {name: value[place] for name, value in (self.weights | self.buffers).items()}
            model.load_state_dict(state, strict=False)
        return self.models


def weighted_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The mean of P_i times the cross-entropy of each image (line 5 of Algorithms 2 and 3).

    >>> weighted_loss(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    tensor(2.7726)
    """
    return (weights * F.cross_entropy(scores, labels, reduction="none")).mean()


def _loss_of(model: nn.Module) -> Callable[..., Tensor]:
    def loss(
        weights: dict[str, Tensor],
        buffers: dict[str, Tensor],
        images: Tensor,
        labels: Tensor,
        scale: Tensor,
    ) -> Tensor:
        scores = functional_call(model, (weights, buffers), (images,))
        return weighted_loss(scores, labels, scale)

    return loss
