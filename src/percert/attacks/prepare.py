"""What every attack sees to before it begins: images, labels, and the mode that the model is in."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from percert.attacks.goal import Goal, Model, Untargeted
from percert.check import check_images
from percert.tensors import Images

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
