"""DISTS: structure and texture of VGG features, a distance that forgives resampled textures."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.metrics.deep.backbones import FILES, Backbone, backbone, load_backbone
from percert.metrics.deep.weight_files import WeightFile, find_weights
from percert.metrics.metric import Metric, check_pair
from percert.models.weights import read_weights, seeded
from percert.tensors import Features, Images, Vector

FILE = WeightFile(
    ("dists_weights.pt", "DISTS_weights.pt", "weights.pt"),
    "DISTS's alpha and beta, weights.pt of the dists-pytorch package",
    "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CONSTANT = 1e-6
#: Larger images are reduced to this shorter side first, as its authors prepare them.
SIDE = 256
SMALLEST_SIDE = 16


class L2Pooling(nn.Module):
    """The root of the Hann-weighted mean square of 3 x 3 pixels, at every second pixel.

    >>> L2Pooling(2)(torch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 2, 2])
    """

    if TYPE_CHECKING:
        window: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        hann = torch.tensor([0.25, 0.5, 0.25])
        window = hann.outer(hann).expand(channels, 1, 3, 3)
        self.register_buffer("window", window.clone(), persistent=False)

    def forward(self, features: Features) -> Features:
        power = F.conv2d(
            features.square(), self.window, stride=2, padding=1, groups=len(self.window)
        )
        return (power + 1e-12).sqrt()


class DISTS(Metric):
    """DISTS: 0 at identity, at most 2 in theory (Ding, Ma, Wang, Simoncelli, TPAMI 2020).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape, sides of at least 16 pixels,
    and gives ``(n,)``. Of the pixels, and of VGG-16's features at five layers with its max pooling
    replaced by l2 pooling: of each channel how alike the two means are, and the structure around
    them, weighted by learnt alpha and beta. Images whose shorter side is more than 256 pixels are
    reduced to that first, with antialiasing.

    ``checkpoint`` is a folder with the file of alpha and beta and torchvision's of VGG-16, or the
    file of alpha and beta alone, or ``"random"`` for seeded random weights. Without it, both are
    looked for where :func:`~percert.metrics.deep.weight_files.find_weights` looks. Raises
    ``ValueError`` that says what is missing and where to put it.

    >>> metric = DISTS(checkpoint="random")
    >>> image = torch.rand(1, 3, 24, 24)
    >>> metric(image, image)
    tensor([0.])
    """

    if TYPE_CHECKING:
        mean: Tensor
        std: Tensor

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        super().__init__()
        self.trunk, self.alpha, self.beta = seeded(_untrained)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        if str(checkpoint) != "random":
            self._load(None if checkpoint is None else Path(checkpoint))
        self.eval().requires_grad_(False)

    def _load(self, given: Path | None) -> None:
        path = find_weights(FILE, "dists", given)
        state = read_weights(path)
        with torch.no_grad():
            for key, value in (("alpha", self.alpha), ("beta", self.beta)):
                if key not in state or state[key].shape != value.shape:
                    raise ValueError(
                        f"{path}: not the weights of DISTS: expected {key} of {tuple(value.shape)}"
                    )
                value.copy_(state[key])
        folder = given if given is not None and given.is_dir() else None
        load_backbone(self.trunk, find_weights(FILES["vgg"], "dists", folder))

    def features(self, images: Images) -> list[Features]:
        """The pixels and the five layers, finest first."""
        images = images.to(self.mean)
        height, width = images.shape[2:]
        if min(height, width) > SIDE:
            size = [round(side * SIDE / min(height, width)) for side in (height, width)]
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return [images, *self.trunk((images - self.mean) / self.std)]

    def from_features(self, reference: list[Features], candidate: Images) -> Vector:
        """The distance of ``candidate`` to what :meth:`features` made of the reference."""
        means, structures = [], []
        for x, y in zip(reference, self.features(candidate), strict=True):
            mean_x, mean_y = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
            # 1 - similarity, written with differences: exactly 0 at identity, and precise there.
            change = (mean_x - mean_y) ** 2
            means.append(change / (mean_x**2 + mean_y**2 + CONSTANT))
            moved = (x - y - (mean_x - mean_y)).square().mean((2, 3), keepdim=True)
            powers = (x - mean_x).square() + (y - mean_y).square()
            structures.append(moved / (powers.mean((2, 3), keepdim=True) + CONSTANT))
        weighted = self.alpha * torch.cat(means, 1) + self.beta * torch.cat(structures, 1)
        return weighted.flatten(1).sum(1) / (self.alpha.sum() + self.beta.sum())

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        reference, candidate = check_pair(
            reference, candidate, smallest_side=SMALLEST_SIDE, name="dists"
        )
        return self.from_features(self.features(reference), candidate)


def _untrained() -> tuple[Backbone, nn.Parameter, nn.Parameter]:
    """The trunk, alpha and beta with random weights."""
    trunk = backbone("vgg", L2Pooling)
    channels = 3 + sum(trunk.channels)
    alpha, beta = (nn.Parameter(torch.rand(1, channels, 1, 1)) for _ in range(2))
    return trunk, alpha, beta
