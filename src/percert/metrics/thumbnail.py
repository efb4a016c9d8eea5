"""Thumbnails as embeddings: the linear baseline, without any training."""

from percert.images import Resize
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.reshape import Flatten, SubtractMean
from percert.metrics.embedding import EmbeddingMetric


def thumbnail(side: int) -> EmbeddingMetric:
    """The metric that compares ``side`` x ``side`` thumbnails, blind to a uniform change of colour.

    Each thumbnail pixel is the average of the image over its rectangle, less the mean of them all:
    a linear map, and 1-Lipschitz exactly. In units of the image's pixels the embedding is long
    (n / L around 80 at 299 px), so copies are certified far out. Weak against crops, and blind to
    meaning. Computed in float64: subtracting the mean of a picture of low contrast would cost
    float32 its digits, and two images without any contrast are equal here.

    >>> import torch
    >>> metric, grey = thumbnail(8), torch.full((1, 3, 20, 30), 0.5)
    >>> metric(grey, 0.5 * grey).item()
    0.0
    """
    name = f"thumbnail-{side}"
    layers = (SubtractMean(), Flatten())
    network = LipschitzNetwork(layers, resolution=(side, side), name=name)
    return EmbeddingMetric(network, Resize((side, side), "box"), name=name).double().eval()
