"""Every copy detector that is measured, by name, and those that percert itself does not have."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert import create_metric
from percert.evaluation.copies.detector import (
    Described,
    Detector,
    MetricDetector,
    squeezenet_detector,
)
from percert.evaluation.copies.hashes import dhash, pdq, phash, whash
from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.sll import SLLConv, SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.full_reference.ssim import C1, C2, SIGMA, WINDOW, losses
from percert.models.imagenet_networks import squeezenet
from percert.registry import name_and_file

#: The side at which SSIM compares images, whose own size edits change. Of 24, 32, 48 and 64 it
#: finds most copies at 24 (40 photographs, all edits); all pairs would take hours at 299.
SIDE = 24
#: ITU-R 601 luma.
LUMA = (0.299, 0.587, 0.114)


def luma_of(images: Tensor) -> Tensor:
    """``(n, 1, h, w)`` of ``(n, 3, h, w)``."""
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def luma_distance(reference: Tensor, candidate: Tensor) -> Tensor:
    """1 - SSIM of luma ``(n, 1, h, w)`` at its own size, ``(n,)``."""
    luminance, structure = losses(reference, candidate)
    return (luminance + structure - luminance * structure).flatten(1).mean(1)


class StructureDetector:
    """1 - SSIM of luma at ``side`` x ``side`` pixels, resized by exact area averages."""

    def __init__(self, side: int = SIDE) -> None:
        self.name = f"ssim-{side}"
        self.resize = Resize((side, side), "box")
        offsets = torch.arange(WINDOW) - WINDOW // 2
        weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
        weights = weights / weights.sum()
        self.window = torch.zeros(side - WINDOW + 1, side)
        for row in range(len(self.window)):
            self.window[row, row : row + WINDOW] = weights

    def describe(self, images: Tensor) -> Described:
        return Described(self.values(images))

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        """All pairs: only the mean of the product x y has to be made for each of them."""
        means, powers = self._moments(references)
        rows = []
        for query in queries:
            mean, power = self._moments(query[None])
            product = mean * means
            joint = self._average(query * references) - product
            squares = mean.square() + means.square()
            luminance = (2 * product + C1) / (squares + C1)
            structure = (2 * joint + C2) / (power + powers - squares + C2)
            rows.append(1 - (luminance * structure).flatten(1).mean(1))
        return torch.stack(rows).double()

    def values(self, images: Tensor) -> Tensor:
        return self.resize(luma_of(images))[:, 0]

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        distance = luma_distance(references[:, None], values[:, None])
        return distance, distance.detach().double()

    def _average(self, images: Tensor) -> Tensor:
        return self.window @ images @ self.window.T

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._average(images), self._average(images.square())


#: Measured where no names are given; ``prototype`` and other checkpoints only on request.
NAMES = (
    "lipsim-tiny",
    "lipsim-tiny-1",
    "thumbnail-8",
    "thumbnail-16",
    "squeezenet",
    "ssim",
    "phash",
    "dhash",
    "pdq",
)
HASHES = {"phash": phash, "dhash": dhash, "whash": whash, "pdq": pdq}


def make_detector(name: str, data: Path, checkpoints: list[str]) -> Detector:
    """The detector called ``name``. ``checkpoints`` are NAME=FILE.

    SqueezeNet's weights are looked for beside ``data``, in ``weights``.
    """
    if name == "squeezenet":
        weights = data.parent / "weights" / "squeezenet1_0-imagenet.safetensors"
        return squeezenet_detector(squeezenet(weights))
    if name == "ssim":
        return StructureDetector()
    if name in HASHES:
        return HASHES[name]()
    return MetricDetector(make_metric(name, checkpoints), name)


def make_metric(name: str, checkpoints: list[str]) -> EmbeddingMetric:
    """The metric called ``name``; ``prototype`` and NAME=FILE come from their checkpoint."""
    files = dict(map(name_and_file, checkpoints))
    if name == "prototype":
        return prototype(Path(str(files["prototype"])))
    metric = create_metric(name, checkpoint=files.get(name), device="cpu")
    if not isinstance(metric, EmbeddingMetric):
        raise ValueError(f"{name}: expected a metric with an embedding")
    return metric


CHANNELS = 96


class PrototypeNetwork(nn.Module):
    """Mean removed, 4 x 4 space to depth, 4 + 3 convolutional and 2 dense SLL: ``(n, 1536)``."""

    resolution = (64, 64)

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(*[SLLConv(CHANNELS, CHANNELS) for _ in range(4)])
        self.b = nn.Sequential(*[SLLConv(CHANNELS, CHANNELS) for _ in range(3)])
        self.dense = nn.Sequential(*[SLLDense(16 * CHANNELS, 512) for _ in range(2)])

    def forward(self, images: Tensor) -> Tensor:
        x = images - images.mean((2, 3), keepdim=True)
        x = F.pixel_unshuffle(x, 4)
        x = self.a(F.pad(x, (0, 0, 0, 0, 0, CHANNELS - 48)))
        x = self.b(F.avg_pool2d(x, 2, divisor_override=2))
        x = F.avg_pool2d(x, 2, divisor_override=2)
        embeddings: Tensor = self.dense(x.flatten(1))
        return embeddings

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "1-Lipschitz layers, each by its own theorem")


def prototype(checkpoint: Path) -> EmbeddingMetric:
    """The metric of a prototype's checkpoint, a pickled state dict, read without code in it."""
    names = {"w": "weight", "b": "bias", "q": "log_q"}
    state = {}
    for key, value in torch.load(checkpoint, map_location="cpu", weights_only=True).items():
        block, layer, leaf = key.split(".")
        state[f"{'dense' if block == 'l' else block}.{layer}.{names[leaf]}"] = value
    network = PrototypeNetwork()
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return EmbeddingMetric(network, Resize((64, 64), "box"), name="prototype")
