"""What an attack is, and what every attack sees to before it begins and while it runs."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor, nn

from percert.attacks.goal import Goal, Model, Untargeted
from percert.check import check_images
from percert.tensors import Images

_Self = TypeVar("_Self")
_More = ParamSpec("_More")
_AnyAttack = TypeVar("_AnyAttack")


class Watch(Protocol):
    """Called by an attack once an iteration; ``False`` ends it: it returns the best that it has.

    ``active`` is the number of images that are still at work.
    """

    def __call__(self, done: int, total: int, active: int, /) -> bool: ...


class Attack(Protocol):
    """``attack(model, images, goal)`` gives adversarial images ``(n, 3, h, w)`` in [0, 1].

    An image for which nothing was found comes back as the attack last had it; whether any of them
    reaches the goal is for :func:`~percert.attacks.run.judge` alone to say. ``seeds`` (``(n,)``
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
    """An :class:`Attack` of percert, which takes labels wherever a goal is.

    ``attack(model, images, labels)`` leaves the class of each label, ``(n,)`` integers from 0. Bad
    images, labels and scores are a ``ValueError`` that says what is wrong with them; a model in
    training mode is put into evaluation mode and back, with a warning.
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


class Relay:
    """One watch for the parts of an attack, which end together once it has said stop.

    >>> relay = Relay(lambda done, total, active: done < 2)
    >>> relay(0, 2, 1), relay.as_part(2, 3)(0, 16, 1), relay(0, 2, 1), relay.stopped
    (True, False, False, True)
    """

    def __init__(self, watch: Watch | None) -> None:
        self.watch, self.stopped = watch, False

    def __call__(self, done: int, total: int, active: int) -> bool:
        if self.watch is not None and not self.stopped:
            self.stopped = not self.watch(done, total, active)
        return not self.stopped

    def as_part(self, start: int, total: int, *, counting: bool = False) -> Watch:
        """A part's watch, which reports ``start`` of ``total``, or counts on from there."""
        return lambda done, _, active: self(start + counting * done, total, active)


def prepared(
    call: Callable[Concatenate[_Self, Model, Images, Goal, _More], Images],
) -> Callable[Concatenate[_Self, Model, Images, Goal | Tensor, _More], Images]:
    """An attack's ``__call__`` that checks what it is given, and takes labels as well as a goal.

    The images and the goal go through :func:`check_attack`; the model is in evaluation mode while
    the attack runs (:func:`evaluating`).

    >>> import torch
    >>> from percert.attacks import DDN
    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> dark, labels = torch.full((1, 3, 4, 4), 0.4), torch.tensor([0])
    >>> model(DDN()(model, dark, labels)).argmax(1)
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


def for_images(attack: _AnyAttack, index: Tensor, of: int | None = None) -> _AnyAttack:
    """The attack for some of its images: settings that are tensors ``(n,)``, at ``index``.

    Raises ``ValueError`` where n is not the number of images ``of`` which these are some.

    >>> import torch
    >>> from percert.attacks import PGD
    >>> for_images(PGD(eps=torch.tensor([0.5, 1.0, 2.0])), torch.tensor([2])).eps
    tensor([2.])
    """
    some: dict[str, Tensor] = {}
    for field in fields(attack) if is_dataclass(attack) else ():
        value = getattr(attack, field.name)
        if isinstance(value, Tensor) and value.ndim:
            if of is not None and len(value) != of:
                raise ValueError(
                    f"{field.name}: expected one number or {of}, one an image, found {len(value)}"
                )
            some[field.name] = value[index.to(value.device)]
    return replace(attack, **some) if some else attack  # type: ignore[type-var]  # it has fields


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
