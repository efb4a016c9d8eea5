"""ALMA, of adversarial-library, as an attack of percert: the least 1 - SSIM at 8 bits.

    pip install --no-deps adv-lib

Augmented Lagrangian Adversarial Attacks (Rony et al. 2021). Its package imports visdom, which draws
its progress and does not build with today's setuptools, and torchvision, which has the networks of
its LPIPS. ALMA uses neither here: where they cannot be imported, an empty module stands in.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from percert.attacks.attack import Watch, prepared
from percert.attacks.goal import Goal, Model, Targeted, Untargeted
from percert.attacks.goal_through import Surviving
from percert.attacks.steps import rescale
from percert.tensors import Images


def there() -> bool:
    """Whether adversarial-library is installed."""
    return find_spec("adv_lib") is not None


@dataclass(frozen=True, kw_only=True)
class ALMA:
    """ALMA's ``steps`` with 1 - SSIM as its distance, then the least multiple that 8 bits survive.

    For goals on classes alone, of at least 4 classes: it divides by the spread of the best logits.
    """

    steps: int = 60

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
        inner = goal.goal if isinstance(goal, Surviving) else goal
        if not isinstance(inner, Targeted | Untargeted):
            raise ValueError(f"alma: expected a goal on classes, found {type(inner).__name__}")
        found = _alma()(
            lambda candidate: worst_logits(goal, goal.scores(model, candidate)),
            images,
            inner.labels,
            targeted=isinstance(inner, Targeted),
            num_steps=self.steps,
            distance="ssim",
        )
        return rescale(model, images, found.detach(), goal, watch=watch)


def worst_logits(goal: Goal, scores: Tensor) -> Tensor:
    """Of each image the logits behind which the goal is furthest off, its confidence included.

    Their label is ahead of all others, or their target behind, where the goal is not reached.
    """
    inner: Any = goal.goal if isinstance(goal, Surviving) else goal
    versions = torch.stack(scores.chunk(1 + len(getattr(goal, "defences", ())), 1))
    margins = torch.stack([inner.margin(part) for part in versions])
    chosen = versions[margins.argmin(0), torch.arange(len(scores))]
    demanded = -inner.confidence if isinstance(inner, Targeted) else inner.confidence
    more = torch.zeros_like(chosen).scatter(1, inner.labels[:, None], demanded)
    return chosen + more


@cache
def _alma() -> Callable[..., Tensor]:
    absent = [name for name in ("visdom", "torchvision") if not _imports(name)]
    for name in absent:
        sys.modules[name] = empty = ModuleType(name)
        empty.models = empty  # type: ignore[attr-defined]  # torchvision.models is asked for
    try:
        found: Callable[..., Tensor] = import_module("adv_lib.attacks.augmented_lagrangian").alma
    finally:
        for name in absent:
            del sys.modules[name]
    return found


def _imports(name: str) -> bool:
    """Whether a package is there and works; torchvision for another torch does not."""
    try:
        import_module(name)
    except (ImportError, RuntimeError):
        return False
    return True
