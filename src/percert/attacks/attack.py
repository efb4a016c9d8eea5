"""What an attack is: a frozen dataclass of settings that is called on a batch."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from percert.attacks.goal import Goal, Model
from percert.tensors import Images

#: Called by an attack once an iteration with (iterations done, iterations in all, images still at
#: work). ``False`` ends the attack there: it returns the best that it has.
Watch: TypeAlias = Callable[[int, int, int], bool]


class Attack(Protocol):
    """``attack(model, images, goal)`` gives adversarial images ``(n, 3, h, w)`` in [0, 1].

    An image for which nothing was found comes back as the attack last had it; whether any of them
    reaches the goal is for :func:`~percert.attacks.judge.judge` alone to say. ``seeds`` (``(n,)``
    integers, zeros where ``None``) start each image's own random numbers, so that no result depends
    on the batch that an image is in. The caller's gradient mode does not matter and is not changed.

    An attack with a budget of its own may say what that allows, by a method ``threat(model,
    images)`` that gives a :class:`~percert.attacks.threat.Threat`: it is judged by that.
    """

    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        /,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images: ...


class CatalogAttack(Protocol):
    """An :class:`Attack` that takes labels wherever a goal is, and checks what it is given.

    ``attack(model, images, labels)`` leaves the class of each label, ``(n,)`` integers from 0. Bad
    images, labels and scores are a ``ValueError`` that says what is wrong with them; a model in
    training mode is put into evaluation mode and back, with a warning. All of percert's attacks are
    such, and :func:`~percert.attacks.run.run_attack` does the same for those of others.
    """

    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal | Tensor,
        /,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images: ...


def go_on(watch: Watch | None, done: int, total: int, active: int) -> bool:
    """Whether an attack should do its next iteration: images are left, and nobody says stop."""
    return active > 0 and (watch is None or watch(done, total, active))


def phases(watch: Watch | None, total: int) -> tuple[Watch, Watch]:
    """What the ``total`` iterations of an attack ask, and what the work that follows on them asks.

    To ``watch`` the second counts as the last iteration. Neither asks again after a stop.

    >>> first, then = phases(lambda done, total, active: done < 2, 2)
    >>> first(0, 2, 1), then(0, 16, 1), first(0, 2, 1)
    (True, False, False)
    """
    stopped = False

    def iterating(done: int, of: int, active: int) -> bool:
        nonlocal stopped
        stopped = stopped or not (watch is None or watch(done, of, active))
        return not stopped

    def finishing(done: int, of: int, active: int) -> bool:
        return iterating(total, total, active)

    return iterating, finishing


def generators(seeds: Tensor | None, count: int) -> list[torch.Generator]:
    """A generator of random numbers for each of ``count`` images, on the CPU.

    On the CPU wherever the images are, so that a GPU attacks with the same numbers.
    """
    values = [0] * count if seeds is None else [int(seed) for seed in seeds]
    if len(values) != count:
        raise ValueError(f"seeds: expected {count}, one an image, found {len(values)}")
    return [torch.Generator().manual_seed(value) for value in values]


def noise_like(images: Tensor, sources: list[torch.Generator], kind: str = "normal") -> Tensor:
    """Random numbers shaped like ``images``: standard ``"normal"``, or ``"uniform"`` in [-1, 1].

    >>> source = generators(torch.tensor([7]), 1)
    >>> noise_like(torch.zeros(1, 3, 2, 2), source, "uniform").abs().max().item() <= 1
    True
    """
    shape = images.shape[1:]
    if kind == "normal":
        drawn = [torch.randn(shape, generator=source) for source in sources]
    else:
        drawn = [2 * torch.rand(shape, generator=source) - 1 for source in sources]
    return torch.stack(drawn).to(images) if drawn else torch.zeros_like(images)


def gradient(
    model: Model, images: Images, goal: Goal, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The gradient of ``loss(scores)`` (``(n,)``) in the images, and the scores, both detached."""
    with torch.enable_grad():
        at = images.detach().requires_grad_(True)
        scores = goal.scores(model, at)
        (slope,) = torch.autograd.grad(loss(scores).sum(), at)
    return slope, scores.detach()
