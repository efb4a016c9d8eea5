"""Any attack of foolbox (Rauber et al. 2017), as an oracle for ours or for what we do not have."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from percert.attacks.attack import Watch, go_on, prepared
from percert.attacks.goal import FlipTriplet, Goal, Model, Targeted, Untargeted
from percert.attacks.threat import Eps, LpBall, Norm, Threat, Unbounded, per_image
from percert.extras import install_extra
from percert.tensors import Images

#: How the norms in which foolbox measures are called here.
NORMS: dict[float | None, Norm] = {1: "l1", 2: "l2", float("inf"): "linf"}


@dataclass(frozen=True, kw_only=True)
class Foolbox:
    """The class ``attack`` of ``foolbox.attacks``, with ``steps`` where given.

    ``eps`` is the budget in the attack's own norm, a number or one an image; ``None`` leaves it to
    an attack that minimises. Images are attacked one after another, each with its own seed: foolbox
    draws from global random numbers, and a result would otherwise depend on the batch. They are put
    back afterwards.
    """

    attack: str = "DDNAttack"
    eps: Eps | None = None
    steps: int | None = None

    def threat(self, model: Model, images: Images) -> Threat:
        if self.eps is None:
            return Unbounded()
        power = getattr(getattr(foolbox_attack(self.attack), "distance", None), "p", None)
        norm = NORMS.get(power)
        return Unbounded() if norm is None else LpBall(norm, self.eps)

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
        attack = foolbox_attack(self.attack, self.steps)
        budgets = [None] * len(images)
        if self.eps is not None:
            budgets = per_image(self.eps, images, torch.float64).tolist()
        result = images.clone()
        values = [0] * len(images) if seeds is None else seeds.tolist()
        for row in range(len(images)):
            if not go_on(watch, row, len(images), len(images) - row):
                break
            index = torch.tensor([row], device=images.device)
            with (
                suppress(_NotAnImage),
                _seeded(int(values[row]), images.device),
                torch.enable_grad(),
            ):
                found = _run(attack, model, images[index], goal.select(index), budgets[row])
                result[index] = found.clamp(0, 1)
        return result


def foolbox_attack(name: str, steps: int | None = None) -> Any:
    """An attack of foolbox by the name of its class; ``ValueError`` names what is wrong.

    >>> type(foolbox_attack("LinfPGD", 5)).__name__
    'LinfProjectedGradientDescentAttack'
    """
    try:
        attacks = import_module("foolbox.attacks")
    except ImportError as error:
        raise ValueError(
            f"foolbox is not installed ({error}): {install_extra('foolbox')}"
        ) from None
    kind = getattr(attacks, name, None)
    if not isinstance(kind, type):
        raise ValueError(f"foolbox: no attack {name!r}; expected a class of foolbox.attacks")
    try:
        return kind() if steps is None else kind(steps=steps)
    except TypeError as error:
        raise ValueError(f"foolbox {name}: {error}") from None


def _run(attack: Any, model: Model, image: Images, goal: Goal, eps: float | None) -> Images:
    from foolbox.models.pytorch import PyTorchModel

    scores = PyTorchModel(_Scores(model, goal).eval(), bounds=(0, 1), device=image.device)
    try:
        _, clipped, _ = attack(scores, image.contiguous(), _criterion(goal), epsilons=eps)
    except NotImplementedError:
        raise ValueError(f"foolbox {type(attack).__name__}: eps must be given") from None
    found: Images = clipped.detach()
    return _checked(found)


def _criterion(goal: Goal) -> Any:
    from foolbox.criteria import Misclassification, TargetedMisclassification

    if not isinstance(goal, Untargeted | Targeted | FlipTriplet):
        raise ValueError(f"foolbox: expected a goal with labels, found {type(goal).__name__}")
    if goal.confidence:
        raise ValueError(f"foolbox: knows no confidence, found {goal.confidence}")
    if isinstance(goal, Targeted):
        return TargetedMisclassification(goal.labels)
    return Misclassification(goal.labels)


class _Scores(nn.Module):
    """What the goal sees of the model, as the module that foolbox wants.

    The model is not registered: foolbox moves what it is given to a device of its choice.
    """

    def __init__(self, model: Model, goal: Goal) -> None:
        super().__init__()
        self.held = (model, goal)

    def forward(self, images: Images) -> Tensor:
        model, goal = self.held
        return goal.scores(model, _checked(images))


class _NotAnImage(Exception):
    """The attack has left the images behind, as it does after a gradient that is NaN."""


def _checked(images: Images) -> Images:
    if not images.isfinite().all():
        raise _NotAnImage
    return images


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random numbers of torch, numpy and Python from ``seed`` on; then as before."""
    devices = [device] if device.type == "cuda" else []
    numbers, chance = np.random.get_state(), random.getstate()  # noqa: NPY002 - foolbox's own
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002
            random.setstate(chance)
