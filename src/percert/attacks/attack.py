"""What an attack is, and what each sees to before it begins.

What an attack is: a frozen dataclass of settings that is called on a batch.

What every attack sees to before it begins: images, labels, and the mode that the model is in.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from percert.attacks.goal import Goal, Model, Untargeted
from percert.check import check_images
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


_Self = TypeVar("_Self")
_More = ParamSpec("_More")


def prepared(
    call: Callable[Concatenate[_Self, Model, Images, Goal, _More], Images],
) -> Callable[Concatenate[_Self, Model, Images, Goal | Tensor, _More], Images]:
    """An attack's ``__call__`` that checks what it is given, and takes labels as well as a goal.

    The images and the goal go through :func:`check_attack`; the model is in evaluation mode while
    the attack runs (:func:`evaluating`).

    >>> from percert.attacks import create_attack
    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> dark, labels = torch.full((1, 3, 4, 4), 0.4), torch.tensor([0])
    >>> model(create_attack("ddn")(model, dark, labels)).argmax(1)
    tensor([1])
    """

    @wraps(call)
    def ready(
        self: _Self,
        model: Model,
        images: Images,
        goal: Goal | Tensor,
        /,
        *args: _More.args,
        **kwargs: _More.kwargs,
    ) -> Images:
        goal = check_attack(images, goal)
        with evaluating(model):
            return call(self, model, images, goal, *args, **kwargs)

    return ready


def check_attack(images: Images, goal: Goal | Tensor) -> Goal:
    """The goal, or any class but the labels where ``goal`` is a tensor of these, ``(n,)``.

    Raises ``ValueError`` for images that are not ``(n, 3, h, w)`` in [0, 1] in float32 or float64
    (half precision cannot tell a pixel's levels and an attack's steps apart), and for a goal that
    has not one entry an image.

    >>> check_attack(torch.zeros(2, 3, 4, 4), torch.tensor([0]))
    Traceback (most recent call last):
    ValueError: goal: expected 2 entries, one an image, found 1
    """
    check_images(images)
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"images: expected float32 or float64, found {images.dtype}; give images.float(), and "
            "a model in half precision as lambda images: model(images.half())"
        )
    if isinstance(goal, Tensor):
        goal = Untargeted(goal.to(images.device))
    elif not isinstance(goal, Goal):
        raise ValueError(
            "goal: expected one of percert.attacks, or labels, a tensor of integers (n,), "
            f"found {type(goal).__name__}"
        )
    if len(goal) != len(images):
        raise ValueError(f"goal: expected {len(images)} entries, one an image, found {len(goal)}")
    return goal


@contextmanager
def evaluating(model: object, *, warn: bool = True) -> Iterator[None]:
    """``model`` in evaluation mode for as long as it takes; every module's mode as before after it.

    What is no module (a function, say) is left alone. ``warn`` says that something was in training
    mode, where batch norm and dropout make of every image something else.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout().eval())
    >>> with evaluating(net, warn=False):
    ...     net[0].training
    False
    >>> net[0].training, net[1].training
    (True, False)
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    modes = (
        [(each, each.training) for each in module.modules()]
        if isinstance(module, nn.Module)
        else []
    )
    if not any(training for _, training in modes):
        yield
        return
    if warn:
        warnings.warn(
            f"model: {type(module).__name__} is in training mode; it is attacked in evaluation "
            "mode, and put back afterwards",
            UserWarning,
            stacklevel=4,
        )
    root, training = modes[0]
    root.eval()
    try:
        yield
    finally:
        root.train(training)
        for each, mode in modes:
            each.training = mode
