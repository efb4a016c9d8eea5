"""The plain prototype that the embedded default is measured against: one loss, no teacher.

An SLL network at 64 px of 96 channels: its checkpoint is not part of the project.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.sll import SLLConv, SLLDense
from percert.metrics.embedding import EmbeddingMetric

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
