"""Networks of timm and torchvision: both are optional, and either may be missing or broken."""

import difflib
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from percert.arguments import Argument, ArgumentError
from percert.check import one_line
from percert.extras import install_extra, install_package
from percert.models.preparation import Preparation


def timm_network(
    name: str, *, pretrained: bool, classes: int | None = None
) -> tuple[nn.Module, Preparation]:
    """The network ``name`` of timm, with what its weights want done to images.

    ``pretrained`` takes timm's own weights, which it downloads where they are not in its cache.
    Raises ``ValueError`` where timm cannot be imported, knows no such name, or cannot get the
    weights.
    """
    timm = _import("timm")
    bare = name.partition(".")[0]
    if not timm.is_model(bare):
        raise _unknown("timm", bare, timm.list_models())
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    network = _build("timm", name, pretrained, lambda own: timm.create_model(name, own, **options))
    found = timm.data.resolve_model_data_config(network)
    _, height, width = found["input_size"]
    return network, Preparation(
        mean=tuple(found["mean"]), std=tuple(found["std"]), size=(height, width)
    )


def torchvision_network(
    name: str, *, pretrained: bool, classes: int | None = None
) -> tuple[nn.Module, Preparation]:
    """The network ``name`` of torchvision, with what its default weights want done to images.

    As :func:`timm_network`. Images are resized to the side to which the weights' own
    preparation crops.
    """
    models = _import("torchvision.models")
    if name not in models.list_models(module=models):
        raise _unknown("torchvision", name, models.list_models(module=models))
    weights = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}

    def create(own: bool) -> nn.Module:
        network: nn.Module = models.get_model(name, weights=None, **options)
        if own:
            network.load_state_dict(
                weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            )
        return network

    network = _build("torchvision", name, pretrained, create)
    wanted = weights.transforms()
    side = int(wanted.crop_size[0])
    return network, Preparation(mean=tuple(wanted.mean), std=tuple(wanted.std), size=(side, side))


def _import(module: str) -> ModuleType:
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


def _build(package: str, name: str, pretrained: bool, create: Any) -> nn.Module:
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


def _unknown(package: str, name: str, known: Sequence[str]) -> ValueError:
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f", did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ValueError(f"{package}: knows no model {name!r}{hint}")
