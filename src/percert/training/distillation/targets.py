"""What the teacher says of each image: asked once, kept on disk, and made into a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from percert.tensors import Embeddings
from percert.training.teachers.cache import EmbeddingCache
from percert.training.teachers.teacher import Teacher


class View(NamedTuple):
    """One image of a batch: its standard view, the key of that, and the draws of its jitter."""

    image: Tensor
    key: bytes
    draws: Tensor


@dataclass(frozen=True)
class CachedTeacher:
    """A teacher with its cache, if any."""

    teacher: Teacher
    cache: EmbeddingCache | None

    def __call__(self, views: Sequence[View], device: torch.device) -> Embeddings:
        """The teacher's embeddings ``(n, d)`` of the standard views; what is missing is computed.

        Missing ones are computed in one batch and stored together: a run that is killed and goes on
        computes the very same batches.
        """
        found = [None if self.cache is None else self.cache.get(view.key) for view in views]
        if self.cache is not None and any(value is None for value in found):
            self.cache.refresh()
            found = [
                self.cache.get(view.key) if value is None else value
                for view, value in zip(views, found, strict=True)
            ]
        missing: dict[bytes, Tensor] = {
            view.key: view.image for view, value in zip(views, found, strict=True) if value is None
        }
        fresh: dict[bytes, Tensor] = {}
        if missing:
            keys = list(missing)
            computed = self.teacher(torch.stack(list(missing.values())).to(device)).cpu()
            if self.cache is not None:
                computed = self.cache.put(keys, computed)
            fresh = dict(zip(keys, computed, strict=True))
        rows = [
            fresh[view.key] if value is None else value
            for view, value in zip(views, found, strict=True)
        ]
        return torch.stack(rows).to(device)


@dataclass(frozen=True)
class Target:
    """Teacher embeddings made into what is imitated: times ``scale``, perhaps a part of them.

    With ``unit`` their directions alone. ``mean`` ``(d,)`` and ``axes`` ``(k, d)`` are those of
    unit embeddings, or ``None``.
    """

    scale: float
    unit: bool = False
    mean: Tensor | None = None
    axes: Tensor | None = None

    def __call__(self, embeddings: Embeddings) -> Embeddings:
        if self.mean is None or self.axes is None:
            shown = F.normalize(embeddings, dim=1) if self.unit else embeddings
            return shown * self.scale
        mean, axes = self.mean.to(embeddings.device), self.axes.to(embeddings.device)
        centred = F.normalize(embeddings, dim=1) - mean
        return F.normalize(centred @ axes.T, dim=1) * self.scale


def fit_target(embeddings: Embeddings, dimensions: int, scale: float) -> Target:
    """The target of ``dimensions`` principal components of ``embeddings``.

    >>> norms = fit_target(torch.randn(50, 8), 4, 10.0)(torch.randn(3, 8)).norm(dim=1)
    >>> bool(torch.allclose(norms, torch.tensor(10.0)))
    True
    """
    if dimensions > min(embeddings.shape):
        raise ValueError(
            f"teacher: expected at most {min(embeddings.shape)} dimensions from "
            f"{len(embeddings)} embeddings of {embeddings.shape[1]} values, found {dimensions}"
        )
    units = F.normalize(embeddings.double(), dim=1)
    mean = units.mean(0)
    _, _, axes = torch.linalg.svd(units - mean, full_matrices=False)
    return Target(scale, True, mean.float(), axes[:dimensions].float().contiguous())


def saved_target(path: Path, scale: float) -> Target | None:
    """The target that :func:`save_target` wrote, or ``None``."""
    if not path.is_file():
        return None
    held = load_file(path)
    return Target(scale, True, held["mean"], held["axes"])


def save_target(target: Target, path: Path) -> None:
    """Write a fitted target, whole or not at all: a run that goes on must not fit another."""
    assert target.mean is not None  # fitted
    assert target.axes is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.partial")
    save_file({"mean": target.mean, "axes": target.axes}, unfinished)
    unfinished.replace(path)
