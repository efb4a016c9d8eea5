"""A classifier from what names it: a card, ``timm:NAME``, ``torchvision:NAME``, or a factory.

timm and torchvision are optional, and either may be missing or broken.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from percert.check import Argument, ArgumentError, did_you_mean, one_line
from percert.device import resolve_device
from percert.extras import install_extra, install_package
from percert.models.card import (
    ClassifierCard,
    PreparedClassifier,
    Preprocessing,
    read_card,
    shipped_card,
    shipped_cards,
)
from percert.models.imagenet_networks import SCALING, EfficientNetLite, SqueezeNet
from percert.models.weights import is_packaged, load_weights, packaged_file


def timm_network(
    name: str, *, pretrained: bool, classes: int | None = None
) -> tuple[nn.Module, Preprocessing]:
    """The network ``name`` of timm, with what its weights want done to images.

    ``pretrained`` takes timm's own weights, which it downloads where they are not in its cache.
    Raises ``ValueError`` where timm cannot be imported, knows no such name, or cannot get the
    weights.
    """
    timm = _import_package("timm")
    bare = name.partition(".")[0]
    if not timm.is_model(bare):
        raise _unknown_model("timm", bare, timm.list_models())
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    network = _create("timm", name, pretrained, lambda own: timm.create_model(name, own, **options))
    found = timm.data.resolve_model_data_config(network)
    _, height, width = found["input_size"]
    return network, Preprocessing(
        mean=tuple(found["mean"]), std=tuple(found["std"]), size=(height, width)
    )


def torchvision_network(
    name: str, *, pretrained: bool, classes: int | None = None
) -> tuple[nn.Module, Preprocessing]:
    """The network ``name`` of torchvision, with what its default weights want done to images.

    As :func:`timm_network`. Images are resized to the side to which the weights' own
    preparation crops.
    """
    models = _import_package("torchvision.models")
    if name not in models.list_models(module=models):
        raise _unknown_model("torchvision", name, models.list_models(module=models))
    weights = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}

    def create(own: bool) -> nn.Module:
        network: nn.Module = models.get_model(name, weights=None, **options)
        if own:
            network.load_state_dict(
                weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            )
        return network

    network = _create("torchvision", name, pretrained, create)
    wanted = weights.transforms()
    side = int(wanted.crop_size[0])
    return network, Preprocessing(mean=tuple(wanted.mean), std=tuple(wanted.std), size=(side, side))


def _import_package(module: str) -> ModuleType:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        install = install_extra("timm") if package == "timm" else install_package(package)
        raise ValueError(f"{package}: not installed ({error}): {install}") from None
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise ValueError(
            f"{package}: installed, but cannot be imported ({one_line(error)}); it and torch "
            "must be of one build"
        ) from None


def _create(package: str, name: str, pretrained: bool, create: Any) -> nn.Module:
    try:
        network: nn.Module = create(pretrained)
    except Exception as error:  # a download fails in as many ways as there are clients
        said = one_line(error)
        if not pretrained:
            raise ValueError(f"{package}:{name}: refused ({said})") from error
        raise ArgumentError(
            f"{package}:{name}: weights cannot be had ({said}); give a file with ",
            Argument("weights"),
        ) from error
    return network


def _unknown_model(package: str, name: str, known: Sequence[str]) -> ValueError:
    hint = did_you_mean(name.lower(), known, most=3)
    return ValueError(f"{package}: knows no model {name!r}{hint}")


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
    card: ClassifierCard, preparation: Preprocessing, name: str
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
