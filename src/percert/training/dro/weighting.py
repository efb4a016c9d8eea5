"""The weights P of Algorithms 2 and 3: draws in proportion to P, and SGD steps weighted by P.

*Human Imperceptible Attacks and Applications to Improve Fairness*, Algorithm 2. The clean images
weigh 1, the i-th image of round k weighs (k - 1) N + i. After one round of N = 10,000 the clean
images are drawn once in 5,000 times, and a step on the last image is 10,000 times as long as one on
a clean image: as written, training diverges at once. ``"literal"`` is that; ``"normalised"`` keeps
the bias towards recent rounds, with

- weights in units of a round, P = (k - 1) + i / N: between 0 and the number of rounds, so that
  after k rounds 2 / (2 + k^2) of the draws are clean images;
- steps of P over its mean under the drawing, sum P^2 / sum P, so that the mean step is one of the
  learning rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from percert.models import PreparedClassifier

Scheme: TypeAlias = Literal["normalised", "literal"]
SCHEMES: tuple[Scheme, ...] = ("normalised", "literal")
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]


def example_weights(rounds: Ints, positions: Ints, count: int, scheme: Scheme) -> Floats:
    """P of images by their round k (0: clean) and position i in it (from 1), for ``count`` = N.

    >>> rounds, positions = np.array([0, 1, 1, 2]), np.array([1, 1, 4, 2])
    >>> example_weights(rounds, positions, 4, "literal")
    array([1., 1., 4., 6.])
    >>> example_weights(rounds, positions, 4, "normalised")
    array([1.  , 0.25, 1.  , 1.5 ])
    """
    grown = (rounds - 1.0) * count + positions
    if scheme == "normalised":
        grown = grown / count
    elif scheme != "literal":
        raise ValueError(f"weights: expected one of {', '.join(SCHEMES)}, found {scheme!r}")
    return np.where(rounds == 0, 1.0, grown)


def step_scale(weights: Floats, scheme: Scheme) -> float:
    """What P is multiplied by in a step, over the whole D with ``weights``: 1 where literal.

    >>> step_scale(np.array([1.0, 3.0]), "normalised")  # drawn with chances 1/4 and 3/4: 2.5
    0.4
    """
    if scheme == "literal":
        return 1.0
    return float(weights.sum() / np.square(weights).sum())


Generator: TypeAlias = np.random.Generator


class WeightedSampler:
    """Draws of 0 ... n - 1 in proportion to ``weights`` ``(n,)``, by their cumulative sums.

    8 bytes an image, and one binary search a draw. Raises ``ValueError`` for weights that are not
    finite, negative, or all 0.

    >>> draws = WeightedSampler(np.array([0.0, 1.0, 0.0]))
    >>> draws.draw(3, np.random.default_rng(0))
    array([1, 1, 1])
    """

    def __init__(self, weights: Floats) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("weights: expected one finite number of at least 0 for each image")
        if not values.sum() > 0:
            raise ValueError("weights: expected one above 0 at least")
        self.cumulative = np.cumsum(values)
        #: Rounding may carry a draw past the end, onto an image of no weight.
        self.last = int(np.flatnonzero(values)[-1])

    def draw(self, count: int, generator: Generator) -> Ints:
        """``count`` indices; one by one or at once, the same generator gives the same."""
        at = generator.random(count) * self.cumulative[-1]
        found = np.searchsorted(self.cumulative, at, side="right")
        drawn: npt.NDArray[np.int64] = np.minimum(found, self.last).astype(np.int64)
        return drawn


def stream(seed: int, *path: int) -> Generator:
    """The random numbers of one purpose: independent of every other ``path`` under the ``seed``.

    >>> bool(stream(0, 1).random() == stream(0, 1).random() != stream(0, 2).random())
    True
    """
    return np.random.default_rng([seed, *path])


#: Layers that torch.func cannot carry many copies of: they change their own state, or draw.
STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class SGDSettings:
    """theta <- theta - rate v, v <- momentum v + gradient + weight_decay theta, as torch's SGD."""

    momentum: float = 0.0
    weight_decay: float = 5e-4


def can_stack(model: nn.Module) -> bool:
    """Whether :class:`StackedSGD` can train such models.

    >>> can_stack(nn.Linear(2, 2)), can_stack(nn.BatchNorm2d(2))
    (True, False)
    """
    return not any(isinstance(layer, STATEFUL) for layer in model.modules())


class SequentialSGD:
    """Each model by itself, one after another."""

    def __init__(self, models: list[nn.Module], descent: SGDSettings) -> None:
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


class StackedSGD:
    """All models as one: their weights stacked, their steps one call of ``vmap``."""

    def __init__(self, models: list[nn.Module], descent: SGDSettings) -> None:
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
