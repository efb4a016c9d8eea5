"""A teacher from what names it in a recipe."""

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from percert.metrics.dreamsim import PARTS
from percert.metrics.embedding import EmbeddingMetric
from percert.models.load import load_classifier
from percert.models.packages import timm_network, torchvision_network
from percert.models.preparation import Preparation, PreparedClassifier
from percert.models.squeezenet import SqueezeNet
from percert.models.weights import load_weights
from percert.training.teachers.dreamsim import dreamsim_teacher
from percert.training.teachers.teacher import NetworkTeacher, Teacher

KINDS = (
    "dreamsim, dreamsim:PART, timm:NAME, torchvision:NAME, the name or TOML file of a classifier "
    "card, or package.module:factory"
)


def load_teacher(spec: str, weights: Path | None = None, *, bf16: bool = False) -> Teacher:
    """The teacher that ``spec`` names.

    - ``dreamsim`` is the ensemble, ``dreamsim:dino_vitb16``, ``dreamsim:clip_vitb32`` and
      ``dreamsim:open_clip_vitb32`` its parts; ``weights`` is the folder of its checkpoints;
    - ``timm:NAME`` and ``torchvision:NAME`` are those packages' networks without their classifier;
      ``weights`` a file of the whole network's weights, instead of a download;
    - a classifier card (``squeezenet1_0``, ``my.toml``) or ``package.module:factory`` as
      :func:`percert.models.load_classifier` takes them: the network's ``embed``, or what enters its
      last linear layer.

    ``bf16`` evaluates it in bf16. Raises ``ValueError`` for what is not known, cannot be imported
    or has no weights here: the message says what to fetch and where to put it.

    >>> load_teacher("dreamsim:vit_giant")
    Traceback (most recent call last):
    ValueError: teacher: dreamsim has no part 'vit_giant'; expected ensemble, dino_vitb16, ...
    """
    kind, _, rest = spec.partition(":")
    if kind == "dreamsim":
        part = rest or "ensemble"
        if part not in PARTS:
            raise ValueError(f"teacher: dreamsim has no part {part!r}; expected {', '.join(PARTS)}")
        return dreamsim_teacher(part, weights, bf16=bf16)
    if kind in ("timm", "torchvision") and rest:
        return _package_teacher(kind, rest, weights, bf16)
    if not spec or spec.endswith(":"):
        raise ValueError(f"teacher: expected {KINDS}, found {spec!r}")
    try:
        model = load_classifier(spec, "cpu", weights)
    except ValueError as error:
        if str(error).startswith("model: expected"):
            raise ValueError(f"teacher: expected {KINDS}, found {spec!r}") from None
        raise ValueError(f"teacher: {error}") from None
    return classifier_teacher(spec, model, bf16=bf16)


def classifier_teacher(name: str, model: nn.Module, *, bf16: bool = False) -> Teacher:
    """A teacher from a classifier of images in [0, 1]: ``model.embed``, or its last layer's input.

    >>> import torch
    >>> from torch.nn import Flatten, Linear, Sequential
    >>> head = Sequential(Flatten(), Linear(12, 7), Linear(7, 10))
    >>> classifier_teacher("mine", head)(torch.rand(2, 3, 2, 2)).shape
    torch.Size([2, 7])
    """
    if isinstance(model, SqueezeNet | EmbeddingMetric):
        return NetworkTeacher(name, model, model.embed, identity="embed", bf16=bf16)
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not last:
        raise ValueError(f"teacher {name}: the network has no linear layer whose input could serve")

    def embed(images: Tensor) -> Tensor:
        found: list[Tensor] = []

        def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
            found.append(given[0])

        handle = last[-1].register_forward_pre_hook(keep)
        try:
            model(images)
        finally:
            handle.remove()
        if not found:
            raise ValueError(f"teacher {name}: its last linear layer did not run")
        return found[0].flatten(1)

    identity = f"input of the last linear layer, {_preparation(model)}"
    return NetworkTeacher(name, model, embed, identity=identity, bf16=bf16)


def _package_teacher(kind: str, name: str, weights: Path | None, bf16: bool) -> Teacher:
    network_of = {"timm": timm_network, "torchvision": torchvision_network}[kind]
    try:
        network, preparation = network_of(name, pretrained=weights is None)
    except ValueError as error:
        hint = ""
        if "cannot be had" in str(error):
            hint = (
                f"; on a machine with a network save {kind}'s state_dict of {name} as "
                "safetensors, put the file anywhere here and name it as the teacher's weights"
            )
        raise ValueError(f"teacher: {error}{hint}") from None
    if weights is not None:
        load_weights(network, weights)
    model = PreparedClassifier(preparation, network)
    if kind == "timm" and hasattr(network, "reset_classifier"):
        network.reset_classifier(0)  # type: ignore[operator]  # nn.Module's attributes are untyped
        identity = f"without classifier, {_preparation(model)}"
        return NetworkTeacher(f"{kind}:{name}", model, model, identity=identity, bf16=bf16)
    return classifier_teacher(f"{kind}:{name}", model, bf16=bf16)


def _preparation(model: nn.Module) -> str:
    """What the weights' hash does not see: how images are prepared."""
    for module in model.modules():
        if isinstance(module, Preparation):
            held = (module.mean.flatten().tolist(), module.std.flatten().tolist())
            said = repr((held, module.channels, module.scale, module.resize))
            return hashlib.sha256(said.encode()).hexdigest()
    return "prepares its images itself"
