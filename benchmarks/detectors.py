"""What can tell copies from other images: one contract for metrics, features, hashes and SSIM."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from percert.certify.embed import embed
from percert.certify.features import PixelFeatures
from percert.images import Resize
from percert.metrics.embedding import EmbeddingMetric, direction
from percert.models.squeezenet import SqueezeNet

#: At which side plain SqueezeNet looks at images: at 160 it found fewer copies (20 photographs, all
#: edits), and at 224 it would take most of the benchmark's time.
SQUEEZENET_SIDE = 128


@dataclass(frozen=True)
class Described:
    """A batch of descriptions: ``vectors`` ``(n, ...)``, and what certificates need beside them."""

    vectors: Tensor
    features: PixelFeatures | None = None

    def rows(self, index: Tensor) -> "Described":
        """Those of the batch at ``index``."""
        features = self.features
        if features is not None:
            features = replace(features, h=features.h[index], error=features.error[index])
        return Described(self.vectors[index], features)


def join(parts: Sequence[Described]) -> Described:
    """Descriptions of images of one size, one after the other."""
    features = [part.features for part in parts if part.features is not None]
    joined = None
    if features:
        joined = replace(
            features[0],
            h=torch.cat([part.h for part in features]),
            error=torch.cat([part.error for part in features]),
        )
    return Described(torch.cat([part.vectors for part in parts]), joined)


class Detector(Protocol):
    """A distance between descriptions of images. All images are ``(n, 3, h, w)`` in [0, 1]."""

    @property
    def name(self) -> str: ...

    def describe(self, images: Tensor) -> Described:
        """The real description; a hash rounds to 8 bits, as its program does."""
        ...

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        """All pairs of vectors, ``(q, r)`` float64, lower is closer."""
        ...

    def attacked(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Of each pair ``(n,)``: an objective that an attack raises, and the distance itself.

        The first is differentiable in ``images``; the second is what decides, before rounding.
        """
        ...


def unit_distance(queries: Tensor, references: Tensor) -> Tensor:
    """1 - cos of each pair of unit vectors, ``(n,)``, precise near 0."""
    return (queries - references).square().sum(1) / 2


class MetricDetector:
    """An :class:`EmbeddingMetric`: the only kind with certificates."""

    def __init__(self, metric: EmbeddingMetric, name: str | None = None) -> None:
        self.metric = metric
        self.name = name or metric.name

    def describe(self, images: Tensor) -> Described:
        features = embed(self.metric, images)
        return Described(features.directions, features)

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return 1 - queries @ references.T

    def attacked(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        directions = direction(self.metric.embed(images).double(), self.metric.constant)
        distance = unit_distance(directions, references)
        return distance, distance.detach()


class SqueezeNetDetector:
    """The angle between SqueezeNet's last fire module's features, averaged over positions.

    Images are resized to ``side`` x ``side`` (bilinear, antialiased), whatever their proportions.
    """

    name = "squeezenet"

    def __init__(self, model: SqueezeNet, side: int = SQUEEZENET_SIDE) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types a module's memory format as missing
        self.resize = Resize((side, side), "bilinear")

    def describe(self, images: Tensor) -> Described:
        with torch.no_grad():
            return Described(self._directions(images))

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return 1 - queries @ references.T

    def attacked(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        distance = unit_distance(self._directions(images), references)
        return distance, distance.detach()

    def _directions(self, images: Tensor) -> Tensor:
        small = self.resize(images).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return direction(self.model.embed(small).double())
