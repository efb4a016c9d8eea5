"""Plain networks as copy detectors: the angle between features, without any proof."""

from typing import Any

import torch
from torch import Tensor, nn

from percert.check import one_line
from percert.evaluation.copies_detector import Described, cosine_distances, unit_distance
from percert.extras import install_package
from percert.images import Resize
from percert.metrics.embedding import direction
from percert.models.squeezenet import SqueezeNet
from percert.tensors import Images, Vector

#: At which side plain SqueezeNet looks at images: at 160 it found fewer copies (20 photographs, all
#: edits), and at 224 it would take most of the benchmark's time.
SQUEEZENET_SIDE = 128


class SqueezeNetDetector:
    """The angle between SqueezeNet's last fire module's features, averaged over positions.

    Images are resized to ``side`` x ``side`` (bilinear, antialiased), whatever their proportions.
    """

    name = "squeezenet"

    def __init__(self, model: SqueezeNet, side: int = SQUEEZENET_SIDE) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types a module's memory format as missing
        self.resize = Resize((side, side), "bilinear")

    def describe(self, images: Images) -> Described:
        with torch.no_grad():
            return Described(self.values(images).cpu())

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return cosine_distances(queries, references)

    def values(self, images: Images) -> Tensor:
        small = self.resize(images).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return direction(self.model.embed(small).double())

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Vector, Vector]:
        distance = unit_distance(values, references)
        return distance, distance.detach()


class CNNDetector:
    """The angle between ``imagededup``'s CNN features, its network and preparation taken whole.

    ``program`` is an ``imagededup.methods.CNN``: of it, ``model_config.model`` maps what
    ``model_config.transform`` makes of an image to a feature vector. Images go to the transform
    as tensors, so that an attack can follow it.
    """

    name = "cnn"

    def __init__(self, program: Any) -> None:
        self.model: nn.Module = program.model_config.model.cpu().eval().requires_grad_(False)
        self.transform = program.model_config.transform

    def describe(self, images: Images) -> Described:
        with torch.no_grad():
            return Described(self.values(images).cpu())

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return cosine_distances(queries, references)

    def values(self, images: Images) -> Tensor:
        prepared = torch.stack([self.transform(image) for image in images])
        return direction(self.model(prepared).flatten(1).double())

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Vector, Vector]:
        distance = unit_distance(values, references)
        return distance, distance.detach()


def imagededup_cnn() -> CNNDetector:
    """``imagededup``'s CNN; ``ValueError`` where the package or what it needs does not import."""
    try:
        # Untyped, and it needs torchvision, which another torch than its own breaks.
        from imagededup.methods import CNN  # type: ignore[import-not-found]  # an option
    except Exception as error:  # noqa: BLE001  # a torchvision that does not fit raises RuntimeError
        reason = one_line(error)
        raise ValueError(
            f"cnn: needs imagededup ({reason}): {install_package('imagededup')}"
        ) from None
    return CNNDetector(CNN(verbose=False))
