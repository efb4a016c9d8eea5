"""Networks of the ablation that no recipe has: a learned low-pass in front, two on a circle."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.copies.training import fresh_student
from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.certified.exported import NetworkShape
from percert.metrics.certified.lipsim import LipSimTiny
from percert.models.card import PreparedClassifier
from percert.models.load import load_classifier
from percert.training.copies import CopiesRecipe
from percert.training.student import Student

#: Pixels to either side that the low-pass reaches, and the logit of the middle one's share.
REACH = 3
BEGUN = 3.0
#: The height and width at which the teacher sees pictures: of the 224 px it was trained at, half.
TEACHER_SIDE = 112


class LowPass(nn.Module):
    """A learned blur of rows and of columns: ``(n, c, s, s)`` to the same shape.

    A row becomes A times it, A the mean, weighted by shares that are learned, of shifts to either
    side, mirrored at the edges. Each is doubly stochastic, and so is A: no norm grows, as that of a
    matrix is at most the root of its largest sums of rows and of columns, which are 1. Plain
    pictures stay as they are, and mirror images mirror images.

    >>> layer = LowPass(8)
    >>> bool(torch.allclose(layer(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 8, 8)))
    True
    """

    shifts: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        places = torch.arange(side)
        shifts = []
        for reach in range(REACH + 1):
            both = torch.stack((places - reach, places + reach))
            # ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
            seen = torch.where(both < 0, -1 - both, both)
            seen = torch.where(seen >= side, 2 * side - 1 - seen, seen)
            shifts.append(F.one_hot(seen, side).float().mean(0))
        self.register_buffer("shifts", torch.stack(shifts))
        self.logits = nn.Parameter(torch.tensor([BEGUN, *[0.0] * REACH]))

    def forward(self, x: Tensor) -> Tensor:
        blur = torch.einsum("k,kij->ij", self.logits.softmax(0), self.shifts)
        return blur @ x @ blur.T

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "doubly stochastic")


class Circle(nn.Module):
    """Two networks side by side, ``(cos a f_1, sin a f_2)``, the angle a learned.

    Where each is L-Lipschitz so is this: cos^2 a L^2 + sin^2 a L^2 = L^2.

    >>> from percert.lipschitz.fixed_layers import Flatten
    >>> Circle([Flatten(), Flatten()])(torch.ones(1, 1, 1, 1)).norm().item()
    1.0
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.angle = nn.Parameter(torch.tensor(torch.pi / 4))

    def forward(self, x: Tensor) -> Tensor:
        first, second = (network(x) for network in self.networks)
        return torch.cat((self.angle.cos() * first, self.angle.sin() * second), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        bounds: list[LipschitzBound] = [one.lipschitz_bound() for one in self.networks]  # type: ignore[operator]  # nn.Module's attributes are untyped
        largest = max(bounds, key=lambda bound: bound.value)
        return LipschitzBound(largest.value, f"weights on the circle, {largest.proof}")


def low_pass_student(recipe: CopiesRecipe) -> Student:
    """The recipe's own network behind a :class:`LowPass`."""
    student = fresh_student(recipe)
    student.network.layers.insert(0, LowPass(recipe.network.side))
    return student


def circle_student(recipe: CopiesRecipe) -> Student:
    """Two of the recipe's networks, of other random weights each, on the circle."""
    both = [fresh_student(replace(recipe, seed=recipe.seed + n)) for n in (0, 1000)]
    return _side_by_side([one.network for one in both])


def shipped(*versions: int) -> Student:
    """The shipped network of a version of ``lipsim-tiny``, or two on the circle, at 45 degrees."""
    networks = [
        cast(LipschitzNetwork, LipSimTiny(version=one).network.float())  # type: ignore[arg-type]  # numbers that are versions
        for one in versions
    ]
    if len(networks) == 1:
        return Student(networks[0], NetworkShape(family="tiny"))
    student = _side_by_side(networks)
    student.requires_grad_(False)
    return student


def _side_by_side(networks: Sequence[LipschitzNetwork]) -> Student:
    first = networks[0]
    network = LipschitzNetwork([Circle(networks)], resolution=first.resolution, name=first.name)
    student = Student(network, NetworkShape(family="tiny"))
    student.resize = Resize(first.resolution, "box")
    student.centred = True
    return student


def small_teacher() -> nn.Module:
    """EfficientNet-Lite0, which sees pictures at half of the size it was trained at.

    Its features then take a quarter of the time; the recipe's small pictures have no more detail.
    """
    model = load_classifier("efficientnet-lite0", "cpu")
    assert isinstance(model, PreparedClassifier)
    model.preparation.resize = Resize((TEACHER_SIDE, TEACHER_SIDE))
    return model
