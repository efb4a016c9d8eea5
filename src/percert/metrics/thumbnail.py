"""Thumbnails as embeddings: the linear baseline, without any training."""

from torch import Tensor, nn

from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.reshape import Flatten, SubtractMean
from percert.metrics.embedding import EmbeddingMetric


class ThumbnailNetwork(nn.Module):
    """Subtracts each channel's mean and flattens: ``(n, 3, s, s) -> (n, 3 s^2)``, bound exactly 1.

    >>> import torch
    >>> ThumbnailNetwork(8)(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 192])
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.resolution = (side, side)
        self.layers = nn.Sequential(SubtractMean(), Flatten())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "an orthogonal projection")


def thumbnail(side: int) -> EmbeddingMetric:
    """The metric that compares ``side`` x ``side`` thumbnails, blind to a uniform change of colour.

    Each thumbnail pixel is the average of the image over its rectangle. In units of the image's
    pixels the embedding is long (n / L around 80 at 299 px), so copies are certified far out. Weak
    against crops, and blind to meaning. Computed in float64: subtracting the mean of a picture of
    low contrast would cost float32 its digits, and two images without any contrast are equal here.

    >>> import torch
    >>> metric, grey = thumbnail(8), torch.full((1, 3, 20, 30), 0.5)
    >>> metric(grey, 0.5 * grey).item()
    0.0
    """
    network, resize = ThumbnailNetwork(side), Resize((side, side), "box")
    return EmbeddingMetric(network, resize, name=f"thumbnail-{side}").double()
