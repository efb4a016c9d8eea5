"""The network that is trained: resize and 1-Lipschitz network, as its metric will see images."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.images import Resize
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.weights_hash import weights_hash
from percert.metrics.exported import (
    CONFIG,
    WEIGHTS,
    ModelCard,
    NetworkShape,
    build_network,
    load_exported,
    write_config,
)
from percert.tensors import Embeddings, Images


class Student(nn.Module):
    """Images of any size to raw embeddings ``(n, k)``: never normalised, no c appended.

    >>> from percert.lipschitz.tiny import TinyShape
    >>> shape = NetworkShape(family="tiny", tiny=TinyShape(48, (1, 1, 1), 64))
    >>> Student(build_network(shape, "mine"), shape)(torch.rand(2, 3, 80, 80)).shape
    torch.Size([2, 64])
    """

    def __init__(self, network: LipschitzNetwork, shape: NetworkShape) -> None:
        super().__init__()
        self.network = network
        self.resize = Resize(shape.resolution, shape.resize)

    def forward(self, images: Images) -> Embeddings:
        embeddings: Tensor = self.network(self.resize(images))
        return embeddings


def new_student(shape: NetworkShape, name: str, seed: int) -> Student:
    """A student with random weights, drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(build_network(shape, name), shape)


def student_from(folder: Path, name: str) -> tuple[Student, NetworkShape]:
    """The student in the folder of a finished run or an exported model, and its shape.

    Raises ``ValueError`` for a folder that is neither.
    """
    from percert.metrics.exported import read_config

    metric = load_exported(folder)
    shape = read_config(folder).shape
    network = metric.network.float().requires_grad_(True)
    assert isinstance(network, LipschitzNetwork)  # what build_network gives
    network.name = name
    return Student(network, shape), shape


def save_model(
    network: LipschitzNetwork,
    shape: NetworkShape,
    name: str,
    out: Path,
    trained: dict[str, object],
    *,
    copy_threshold: float | None = None,
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``out``, the card last."""
    card = ModelCard(
        name=name,
        shape=shape,
        weights=weights_hash(network),
        copy_threshold=copy_threshold,
        trained=trained,
    )
    out.mkdir(parents=True, exist_ok=True)
    held = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    unfinished = out / f".{WEIGHTS}.partial"
    save_file(held, unfinished)
    unfinished.replace(out / WEIGHTS)
    write_config(card, out)
    assert (out / CONFIG).is_file()
