"""What gives a picture a direction: any metric of the catalog that compares angles of embeddings.

A collection may keep such a descriptor beside its certified metric, as a partner that proves
nothing, and ``percert eval copies`` sets it beside the certified metric as a rival.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.metrics.certified.exported import is_exported
from percert.metrics.deep.features import Features
from percert.registry import name_and_file, unknown_name
from percert.tensors import Embeddings, Images


@dataclass(frozen=True, eq=False)
class Descriptor:
    """``embed(images)`` gives ``(n, k)`` directions, float32 of length 1, for images as metrics
    take them. ``name`` is the metric's, ``model`` its network, of which ``weights`` is the hash.
    ``differentiable`` says whether gradients reach the images.
    """

    name: str
    model: nn.Module
    embed: Callable[[Images], Embeddings]
    differentiable: bool = True

    @property
    def weights(self) -> str:
        """The hash of the network's weights, 64 hexadecimal digits."""
        return weights_hash(self.model)


def create_descriptor(text: str, device: str | torch.device = "auto") -> Descriptor:
    """The descriptor in ``NAME`` or ``NAME=FILE``: a metric of the catalog with an embedding.

    Certified metrics, ``sscd``, ``dreamsim`` and its parts, and those of a classifier's features
    (``efficientnet-lite0-pooled``, ``features=SPEC@LAYER,...``): of these each layer's mean over
    positions, at length 1, one after the other. Raises ``ValueError`` for a name that is unknown or
    compares no embeddings, and where weights or a package are missing.

    >>> create_descriptor("thumbnail", "cpu").embed(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    >>> create_descriptor("ssim")
    Traceback (most recent call last):
    ValueError: ssim: compares no embeddings of single images; expected one of lipsim-tiny, ...
    """
    name, file = name_and_file(text)
    if name not in CATALOG and not is_exported(name):
        raise ValueError(unknown_name("metric", name, CATALOG))
    if not has_descriptor(name):
        known = ", ".join(one for one in CATALOG if has_descriptor(one))
        raise ValueError(
            f"{name}: compares no embeddings of single images; expected one of {known}"
        )
    return descriptor_of(create_metric(name, file, device), name)


def has_descriptor(name: str) -> bool:
    """Whether the metric called ``name`` compares embeddings of single images.

    >>> has_descriptor("sscd"), has_descriptor("lpips-alex")
    (True, False)
    """
    if name not in CATALOG:
        return is_exported(name)
    card = CATALOG[name]
    return card.embedding or card.descriptor


def descriptor_of(metric: nn.Module, name: str) -> Descriptor:
    """The descriptor that a metric compares images by; ``ValueError`` for one without."""
    if isinstance(metric, EmbeddingMetric):
        return Descriptor(
            name, metric, lambda images: direction(metric.embed(images), metric.constant).float()
        )
    if isinstance(metric, Features):
        return Descriptor(name, metric, lambda images: joined(metric.features(images)))
    embed = getattr(metric, "embed", None)
    if not callable(embed):
        raise ValueError(f"{name}: compares no embeddings of single images")
    return Descriptor(
        name,
        metric,
        lambda images: F.normalize(cast(Tensor, embed(images)).float(), dim=1),
        bool(getattr(metric, "differentiable", True)),
    )


def joined(layers: Sequence[Tensor]) -> Embeddings:
    """Each layer's mean over positions at length 1, one after the other, at length 1 again.

    Layers are ``(n, c, h, w)``, ``(n, positions, c)`` or ``(n, c)``.

    >>> joined([torch.ones(1, 1, 2, 2), torch.ones(1, 1)])
    tensor([[0.7071, 0.7071]])
    """
    means = [
        layer.flatten(2).mean(2) if layer.ndim == 4 else layer.mean(1) if layer.ndim == 3 else layer
        for layer in layers
    ]
    return F.normalize(torch.cat([F.normalize(one, dim=1) for one in means], 1), dim=1)
