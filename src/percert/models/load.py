"""A classifier from what names it on a command line."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from percert.arguments import Argument, ArgumentError
from percert.check import did_you_mean
from percert.device import resolve_device
from percert.models.card import ClassifierCard, read_card, shipped_card, shipped_cards
from percert.models.efficientnet_lite import SCALING, EfficientNetLite
from percert.models.packaged import is_packaged, packaged_file
from percert.models.packages import timm_network, torchvision_network
from percert.models.preparation import Preparation, PreparedClassifier
from percert.models.squeezenet import SqueezeNet
from percert.models.weights import load_weights

PACKAGES = {"timm": timm_network, "torchvision": torchvision_network}


def load_classifier(
    spec: str | Path, device: str | torch.device = "auto", weights: str | Path | None = None
) -> nn.Module:
    """The classifier that ``spec`` names: sRGB images ``(n, 3, h, w)`` in [0, 1] to logits.

    In evaluation mode, frozen, channels last, on ``device``. ``spec`` is one of

    - the path of a TOML card (:class:`~percert.models.card.ClassifierCard`), or the name of one
      that comes with percert;
    - ``timm:NAME`` or ``torchvision:NAME``, whose preparation and weights are that package's;
    - ``package.module:factory``, called without arguments for a module that takes such images.
      The working directory is searched as well.

    ``weights`` is a file to take instead of the weights that ``spec`` leads to: safetensors, or a
    ``state_dict`` of ``torch.save``; nothing that could run code is unpickled. A ``class_names``
    attribute (empty where unknown) holds the classes' names. Raises ``ValueError`` for anything
    that is not there or does not fit.

    >>> load_classifier("squeezenet_1")
    Traceback (most recent call last):
    ValueError: model: expected a TOML card, ... found 'squeezenet_1', did you mean 'squeezenet1_0'?
    """
    target = resolve_device(device)
    model = _build(str(spec), None if weights is None else Path(weights))
    if not hasattr(model, "class_names"):
        model.class_names = ()  # type: ignore[assignment]  # torch types attributes as weights
    model = model.to(target).eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch types a module's memory format as missing


def default_classifiers() -> list[str]:
    """The classifiers that need no file of weights, because their package is installed; by name.

    >>> set(default_classifiers()) <= set(shipped_cards())
    True
    """
    places = {name: shipped_card(name).weights_package for name in shipped_cards()}
    return [name for name, place in places.items() if place is not None and is_packaged(place)]


def _build(spec: str, weights: Path | None) -> nn.Module:
    if spec.endswith(".toml"):
        return _from_card(read_card(spec), spec, weights)
    if spec in shipped_cards():
        return _from_card(shipped_card(spec), spec, weights)
    package, colon, name = spec.partition(":")
    if colon and package in PACKAGES:
        network, preparation = PACKAGES[package](name, pretrained=weights is None)
        if weights is not None:
            load_weights(network, weights)
        return PreparedClassifier(preparation, network)
    if colon and name.isidentifier() and all(part.isidentifier() for part in package.split(".")):
        network = _call(spec)
        if weights is not None:
            load_weights(network, weights)
        return network
    hint = did_you_mean(spec, shipped_cards())
    raise ValueError(
        "model: expected a TOML card, timm:NAME, torchvision:NAME or package.module:factory, "
        f"found {spec!r}{hint}"
    )


def _from_card(card: ClassifierCard, name: str, weights: Path | None) -> nn.Module:
    weights = weights or card.weights
    if weights is None and card.weights_package and card.sha256:
        weights = packaged_file(card.weights_package, card.sha256, name)
    if weights is None:
        raise ArgumentError(
            f"{name}: the card names no weights; give a file with ", Argument("weights")
        )
    preparation = card.preparation()
    model, holder = _architecture(card, preparation, name)
    load_weights(holder, weights)
    model.class_names = card.class_names  # type: ignore[assignment]  # as above
    return model


def _architecture(
    card: ClassifierCard, preparation: Preparation, name: str
) -> tuple[nn.Module, nn.Module]:
    """The classifier of a card, and the part of it that has the weights."""
    package, colon, rest = card.architecture.partition(":")
    family, _, size = card.architecture.rpartition("-")
    if card.architecture == "squeezenet1_0":
        own = SqueezeNet(card.classes or 1000, preparation)
        return own, own
    network: nn.Module
    if family == "efficientnet" and size in SCALING:
        network = EfficientNetLite(size, card.classes or 1000)
    elif package in PACKAGES:
        network, _ = PACKAGES[package](rest, pretrained=False, classes=card.classes)
    elif colon:
        network = _call(card.architecture)
    else:
        raise ValueError(
            f"{name}: architecture: expected 'squeezenet1_0', 'efficientnet-lite0' (1, 2), "
            "'timm:NAME', 'torchvision:NAME' or 'package.module:factory', "
            f"found {card.architecture!r}"
        )
    return PreparedClassifier(preparation, network), network


def _call(spec: str) -> nn.Module:
    """What ``package.module:factory`` makes."""
    module, _, attribute = spec.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # where ``python -m`` looks as well, the script does not
    try:
        found = import_module(module)
    except ImportError as error:
        raise ValueError(f"{spec}: {module} cannot be imported ({error})") from None
    factory: Callable[[], Any] | None = getattr(found, attribute, None)
    if not callable(factory):
        raise ValueError(f"{spec}: {module} has no function {attribute!r}")
    try:
        made = factory()
    except TypeError as error:
        raise ValueError(f"{spec}: must be callable without arguments ({error})") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{spec}: expected a torch.nn.Module, found {type(made).__name__}")
    return made
