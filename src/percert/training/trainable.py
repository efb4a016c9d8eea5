"""Classifiers that are trained: made from a name and a seed, saved so that the name loads them."""

import os
import secrets
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from percert.models import PreparedClassifier, load_classifier, shipped_cards
from percert.models.load import PACKAGES

#: What stands for ``percert.models.small_resnet`` with as many classes as the data have.
SMALL = "small-resnet"


def full_spec(spec: str, classes: int) -> str:
    """``small-resnet`` or ``small-resnet:WIDTH`` as what ``load_classifier`` knows.

    Every other name is left as it is. Raises ``ValueError`` for a width that is no number.

    >>> full_spec("small-resnet:8", 10)
    'percert.models.small_resnet:classes10_width8'
    """
    name, _, width = spec.partition(":")
    if name != SMALL:
        return spec
    if width and not width.isdigit():
        raise ValueError(f"model: expected {SMALL}:WIDTH, such as {SMALL}:16, found {spec!r}")
    return f"percert.models.small_resnet:classes{classes}_width{int(width or 16)}"


def trainable_classifier(
    spec: str, device: str | torch.device = "cpu", *, seed: int = 0, weights: Path | None = None
) -> nn.Module:
    """The classifier that ``spec`` names (``load_classifier``), to be trained.

    With the ``weights`` of a file, or random ones that ``seed`` decides where the name has none.
    The caller's random numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load_classifier(spec, device, weights)
    return model.requires_grad_(True)


def save_classifier(model: nn.Module, spec: str, path: Path) -> None:
    """Write the weights as safetensors that ``load_classifier(spec, weights=path)`` takes.

    Whole or not at all.
    """
    inner = isinstance(model, PreparedClassifier) and (
        spec.endswith(".toml") or spec in shipped_cards() or spec.partition(":")[0] in PACKAGES
    )
    holder = model.network if inner else model
    assert isinstance(holder, nn.Module)
    state = {name: value.detach().cpu().contiguous() for name, value in holder.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        save_file(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
