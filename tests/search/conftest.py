"""A folder of small images, a metric that is quick, and one that has weights."""

import pytest
import torch

from percert.images import Resize, save_image
from percert.lipschitz.fixed_layers import Flatten
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.sll import SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail

#: Of a store that is made for tests.
SIZES = [(20, 30), (24, 24), (40, 17), (9, 50)]


def smooth_image(seed, size=(20, 30)):
    """Noise of a few pixels' width: an image that edits and crops change a little."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]


@pytest.fixture
def metric():
    return Thumbnail(8)


@pytest.fixture
def weighted():
    """Makes a metric with weights of a seed: ``weighted(0)`` and ``weighted(1)`` share all else."""

    def make(seed):
        torch.manual_seed(seed)
        layers = (Flatten(), SLLDense(48, 16))
        network = LipschitzNetwork(layers, resolution=(4, 4), name="weighted").eval()
        return EmbeddingMetric(
            network.requires_grad_(False), Resize((4, 4), "box"), name="weighted"
        )

    return make


@pytest.fixture
def photos(tmp_path):
    """Eight images of different sizes, ``photos/0.png`` to ``photos/7.png``."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(8):
        save_image(smooth_image(seed, SIZES[seed % len(SIZES)]), folder / f"{seed}.png")
    return folder
