"""Copy detectors: one contract for certified metrics, learned features and perceptual hashes.

Certified metrics, and plain networks: the angle between features, without any proof.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from percert.certify.features import PixelFeatures, embed
from percert.check import one_line
from percert.extras import install_package
from percert.images import Resize
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.metrics.descriptor import Descriptor
from percert.models.imagenet_networks import SqueezeNet
from percert.search.background import Background
from percert.search.ingest.views import find_view
from percert.tensors import Images, Vector

#: How softly an attack looks at the nearest of several views; distances are of the order of 1.
SOFTNESS = 0.02


@dataclass(frozen=True)
class Described:
    """A batch of descriptors: ``vectors`` ``(n, ...)``, and the features that certificates take.

    ``own`` ``(n,)`` is how much stricter each image's own threshold is, stored, than that of all.
    """

    vectors: Tensor
    features: PixelFeatures | None = None
    own: Vector | None = None

    def rows(self, index: Tensor) -> "Described":
        """Those of the batch at ``index``."""
        features = self.features
        if features is not None:
            features = features.rows(index)
        own = None if self.own is None else self.own[index]
        return Described(self.vectors[index], features, own)


def join(parts: Sequence[Described]) -> Described:
    """Descriptions of images of one size, one after the other."""
    features = [part.features for part in parts if part.features is not None]
    joined = None
    if features:
        held = [part.content for part in features if part.content is not None]
        joined = replace(
            features[0],
            h=torch.cat([part.h for part in features]),
            error=torch.cat([part.error for part in features]),
            content=torch.cat(held) if held else None,
        )
    own = [part.own for part in parts if part.own is not None]
    vectors = torch.cat([part.vectors for part in parts])
    return Described(vectors, joined, torch.cat(own) if own else None)


class Detector(Protocol):
    """A distance between descriptions of images. All images are ``(n, 3, h, w)`` in [0, 1].

    ``describe`` is the real description, without gradients, on the CPU; a hash rounds to 8 bits
    before, as its program does. ``distances`` are those of all pairs of such vectors, ``(q, r)``
    float64, lower is closer. An attack follows ``values``, differentiable in the images, and
    ``gaps(values, vectors)`` of each pair ``(n,)``: an objective that grows with the distance, and
    the distance itself (float64, detached), which decides before rounding.
    """

    @property
    def name(self) -> str: ...

    def describe(self, images: Images, /) -> Described: ...

    def distances(self, queries: Tensor, references: Tensor, /) -> Tensor: ...

    def values(self, images: Images, /) -> Tensor: ...

    def gaps(self, values: Tensor, references: Tensor, /) -> tuple[Vector, Vector]: ...


#: For each view of a query, by name, the indices of the stored views that it is compared with, as
#: :func:`percert.search.ingest.views.asked_views` has it.
Asked = Mapping[str, Sequence[int]]


def describe_asked(
    detector: Detector, images: Images, asked: Iterable[str]
) -> dict[str, Described]:
    """The description of each view that query ``images`` are asked in."""
    return {name: detector.describe(find_view(name)(images)) for name in asked}


def features_of(described: Mapping[str, Described]) -> dict[str, PixelFeatures] | None:
    """What certificates take of each view; ``None`` for a detector without certificates."""
    found = {name: one.features for name, one in described.items() if one.features is not None}
    return found or None


def attacked(
    detector: Detector, images: Images, references: Tensor, asked: Asked | None = None
) -> tuple[Vector, Vector]:
    """The objective and the distance ``(n,)`` of each image from the nearest of its references.

    ``references`` ``(n, v, ...)`` are the vectors of v views each; by default the whole image is
    compared with all. Of several views the objective is a soft minimum, so that one step moves away
    from all that are near.
    """
    count, views = references.shape[:2]
    objectives, found = [], []
    for name, places in ({"whole": range(views)} if asked is None else asked).items():
        values = detector.values(find_view(name)(images))
        objective, distance = detector.gaps(
            values.repeat_interleave(len(places), 0) if len(places) > 1 else values,
            references[:, list(places)].flatten(0, 1).to(values.device),
        )
        objectives.append(objective.cpu().view(count, len(places)))
        found.append(distance.cpu().view(count, len(places)))
    objective, distance = torch.cat(objectives, 1), torch.cat(found, 1).amin(1)
    if views == 1:
        return objective[:, 0], distance
    return -SOFTNESS * torch.logsumexp(-objective / SOFTNESS, 1), distance


def unit_distance(queries: Tensor, references: Tensor) -> Vector:
    """1 - cos of each pair of unit vectors, ``(n,)``, precise near 0."""
    return (queries - references).square().sum(1) / 2


def cosine_distances(queries: Tensor, references: Tensor) -> Tensor:
    """All pairs ``(q, r)`` of directions; what has no direction is at 1/2 from what has one."""
    weights = queries.square().sum(1)[:, None] + references.square().sum(1)
    return (weights / 2 - queries @ references.T).clamp_min(0)


class MetricDetector:
    """An :class:`EmbeddingMetric`: the only kind with certificates.

    With a ``background`` stored images have thresholds of their own, as in an index: a distance is
    then ``d + weight b``, d the metric's and b the likeness of the stored image to the background,
    and ``d + weight b <= T`` is that rule. Vectors carry ``weight b`` as their last value.
    """

    def __init__(
        self,
        metric: EmbeddingMetric,
        name: str | None = None,
        background: Background | None = None,
    ) -> None:
        self.metric = metric
        self.name = name or metric.name
        self.background = background

    def describe(self, images: Images) -> Described:
        features = embed(self.metric, images).cpu()
        if self.background is None:
            return Described(features.directions, features)
        own = self.background.weight * self.background.likeness(features)
        return Described(torch.cat([features.directions, own[:, None]], 1), features, own)

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        if self.background is None:
            return cosine_distances(queries, references)
        return cosine_distances(queries[:, :-1], references[:, :-1]) + references[:, -1]

    def values(self, images: Images) -> Tensor:
        return direction(self.metric.embed(images).double(), self.metric.constant)

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Vector, Vector]:
        if self.background is None:
            distance = unit_distance(values, references)
        else:
            distance = unit_distance(values, references[:, :-1]) + references[:, -1]
        return distance, distance.detach()


class DescriptorDetector:
    """A metric's embedding without any proof: ``sscd``, a classifier's features, and the like."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.model = descriptor.model
        self.name = descriptor.name
        self.differentiable = descriptor.differentiable

    def describe(self, images: Images) -> Described:
        with torch.no_grad():
            return Described(self.values(images).cpu())

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return cosine_distances(queries, references)

    def values(self, images: Images) -> Tensor:
        return direction(self.descriptor.embed(images).double())

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Vector, Vector]:
        distance = unit_distance(values, references)
        return distance, distance.detach()


#: At which side plain SqueezeNet looks at images: at 160 it found fewer copies (20 photographs, all
#: edits), and at 224 it would take most of the benchmark's time.
SQUEEZENET_SIDE = 128


def squeezenet_detector(
    model: SqueezeNet, side: int = SQUEEZENET_SIDE, name: str = "squeezenet"
) -> DescriptorDetector:
    """SqueezeNet's features of its last fire module, averaged over positions.

    Images are resized to ``side`` x ``side`` (bilinear, antialiased), whatever their proportions.
    """
    network = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types a module's memory format as missing
    resize = Resize((side, side), "bilinear")

    def embed(images: Images) -> Tensor:
        small = resize(images).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return network.embed(small)  # type: ignore[no-any-return]  # as above

    return DescriptorDetector(Descriptor(name, network, embed))


def cnn_detector(program: Any) -> DescriptorDetector:
    """``imagededup``'s CNN features, its network and preparation taken whole.

    ``program`` is an ``imagededup.methods.CNN``: of it, ``model_config.model`` maps what
    ``model_config.transform`` makes of an image to a feature vector. Images go to the transform
    as tensors, so that an attack can follow it.
    """
    model: nn.Module = program.model_config.model.cpu().eval().requires_grad_(False)
    transform = program.model_config.transform

    def embed(images: Images) -> Tensor:
        return model(torch.stack([*map(transform, images)])).flatten(1)  # type: ignore[no-any-return]

    return DescriptorDetector(Descriptor("cnn", model, embed))


def imagededup_cnn() -> DescriptorDetector:
    """``imagededup``'s CNN; ``ValueError`` where the package or what it needs does not import."""
    try:
        # Untyped, and it needs torchvision, which another torch than its own breaks.
        from imagededup.methods import CNN  # type: ignore[import-not-found]  # an option
    except Exception as error:  # noqa: BLE001  # a torchvision that does not fit raises RuntimeError
        reason = one_line(error)
        raise ValueError(
            f"cnn: needs imagededup ({reason}): {install_package('imagededup')}"
        ) from None
    return cnn_detector(CNN(verbose=False))


def weights_of(detector: Detector) -> str | None:
    """The hash of a detector's weights, ``None`` for a perceptual hash, which has none."""
    network = getattr(detector, "metric", None) or getattr(detector, "model", None)
    return None if network is None else weights_hash(network)


def background_hash(detector: Detector) -> str | None:
    """The hash of what stored pictures' own thresholds are by, ``None`` where one is for all."""
    background = getattr(detector, "background", None)
    return None if background is None else background.id.hash
