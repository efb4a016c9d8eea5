"""What the teacher says of every image, computed once: its principal features."""

import hashlib
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from percert.lipschitz.weights_hash import weights_hash
from percert.models.squeezenet import SqueezeNet, squeezenet
from percert.reports.page import write_whole
from percert.tensors import Embeddings
from percert.training.copies.draws import Corpus
from percert.training.copies.recipe import CopiesRecipe

#: The teacher sees photographs and the small labelled images at these sizes.
LARGE, SMALL = 208, 112
#: Where a run keeps the features, for when it goes on.
KEPT = "teacher.safetensors"


def teacher_targets(
    recipe: CopiesRecipe, data: Path, corpus: Corpus, out: Path, device: torch.device
) -> Tensor | None:
    """The targets of all images, photographs first; ``None`` where the recipe wants no teacher.

    The teacher's features are kept in ``out``, and taken from there if images and teacher are the
    same still.
    """
    settings = recipe.distillation
    if not settings.weight:
        return None
    teacher = squeezenet(data / recipe.data.teacher).to(device)
    pools = ((corpus.photographs.images, LARGE), (corpus.labelled.images, SMALL))
    key = hashlib.sha256(weights_hash(teacher).encode())
    for images, size in pools:
        key.update(f"{size} {tuple(images.shape)} ".encode())
        key.update(images.numpy().tobytes())
    features = _kept(out / KEPT, key.hexdigest())
    if features is None:
        count = sum(len(images) for images, _ in pools)
        sys.stderr.write(f"teacher's features of {count} images\n")
        parts = [teacher_features(teacher, images, size) for images, size in pools if len(images)]
        features = torch.cat(parts)
        write_whole(out / KEPT, save({"features": features}, {"key": key.hexdigest()}))
    return principal_targets(features, settings.dimensions, settings.scale)


def teacher_features(
    teacher: SqueezeNet, images: Tensor, size: int, *, batch: int = 64
) -> Embeddings:
    """SqueezeNet's pooled features ``(n, 512)`` of uint8 ``(n, 3, s, s)``, seen at ``size`` px."""
    device = next(teacher.parameters()).device
    features = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = images[start : start + batch].to(device).float() / 255
            pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
            features.append(teacher.embed(pixels.clamp(0, 1)).cpu())
    return torch.cat(features).clone()


def principal_targets(features: Embeddings, dimensions: int, scale: float) -> Embeddings:
    """Unit directions of the centred features' first principal components, times ``scale``.

    >>> targets = principal_targets(torch.randn(50, 8), 4, 10.0)
    >>> targets.shape, bool(torch.allclose(targets.norm(dim=1), torch.tensor(10.0)))
    (torch.Size([50, 4]), True)
    """
    centred = F.normalize(features, dim=1)
    centred = centred - centred.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return F.normalize(centred @ axes[:dimensions].T, dim=1) * scale


def _kept(path: Path, key: str) -> Tensor | None:
    """The features in ``path`` if they are those of ``key``; a damaged file holds none."""
    try:
        with safe_open(path, "pt") as file:
            same = (file.metadata() or {}).get("key") == key
            features: Tensor | None = file.get_tensor("features") if same else None
            return features
    except (OSError, SafetensorError):
        return None
