"""What the teacher says of every image, computed once: its principal features."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.models.squeezenet import squeezenet
from percert.tensors import Embeddings


def teacher_features(weights: Path, images: Tensor, size: int, *, batch: int = 64) -> Embeddings:
    """SqueezeNet's pooled features ``(n, 512)`` of uint8 ``(n, 3, s, s)``, seen at ``size`` px."""
    teacher = squeezenet(weights)
    features = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = images[start : start + batch].float() / 255
            pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
            features.append(teacher.embed(pixels.clamp(0, 1)))
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
