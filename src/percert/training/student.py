"""The network that is trained: resize and 1-Lipschitz network, as its metric will see images."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.images import Resize
from percert.lipschitz.centre import centre_of
from percert.lipschitz.network import LipschitzNetwork, weights_hash
from percert.metrics.certified.exported import (
    CONFIG,
    WEIGHTS,
    ModelCard,
    NetworkShape,
    build_network,
    load_exported,
    write_config,
)
from percert.tensors import Embeddings, Images
from percert.training.centre import fit_centre


class Student(nn.Module):
    """Images of any size to raw embeddings ``(n, k)``: never normalised, no c appended.

    While it is trained, embeddings count from that of a plain picture as it is now, where
    ``centred``; the network's own centre is set when training ends (:func:`finished`).

    >>> from percert.lipschitz.architectures import TinyShape
    >>> shape = NetworkShape(family="tiny", tiny=TinyShape(48, (1, 1, 1), 64))
    >>> Student(build_network(shape, "mine"), shape)(torch.rand(2, 3, 80, 80)).shape
    torch.Size([2, 64])
    """

    def __init__(self, network: LipschitzNetwork, shape: NetworkShape) -> None:
        super().__init__()
        self.network = network
        self.resize = Resize(shape.resolution, shape.resize)
        self.centred = centre_of(network) is not None

    def forward(self, images: Images) -> Embeddings:
        seen = self.resize(images)
        if not (self.centred and self.training):
            embeddings: Tensor = self.network(seen)
            return embeddings
        plain = seen.new_full((1, *seen.shape[1:]), 0.5)
        embeddings = self.network(torch.cat((seen, plain)))
        return embeddings[:-1] - embeddings[-1:]


def new_student(shape: NetworkShape, name: str, seed: int) -> Student:
    """A student with random weights, drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(build_network(shape, name), shape)


def student_from(folder: Path, name: str) -> tuple[Student, NetworkShape]:
    """The student in the folder of a finished run or an exported model, and its shape.

    Raises ``ValueError`` for a folder that is neither.
    """
    from percert.metrics.certified.exported import read_config

    metric = load_exported(folder)
    shape = read_config(folder).shape
    network = metric.network.float().requires_grad_(True)
    assert isinstance(network, LipschitzNetwork)  # what build_network gives
    network.name = name
    return Student(network, shape), shape


def finished(student: Student) -> LipschitzNetwork:
    """The network of a trained student, on the CPU, its centre set where it has one."""
    network = student.network.cpu()
    if centre_of(network) is not None:
        fit_centre(network, student.resize)
    return network


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
