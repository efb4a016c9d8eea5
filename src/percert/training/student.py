"""The network that is trained: how it starts, is averaged and centred, and becomes a metric.

The running average of its weights is as Lipschitz as the network itself. SLL layers keep their
bound for any weights, so theirs are averaged as they are. An orthogonal matrix is averaged as a
matrix, which shrinks it, and then made orthogonal again: the polar factor is the nearest orthogonal
matrix, and its Cayley parameters are what the averaged network holds.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.data.plain_pictures import PAGES, plain_pictures
from percert.files import replacing
from percert.images import Resize
from percert.lipschitz.centre import centre_of
from percert.lipschitz.network import LipschitzNetwork, weights_hash
from percert.lipschitz.orthogonal import OrthogonalMix, cayley, polar
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import (
    WEIGHTS,
    ModelCard,
    NetworkShape,
    build_network,
    load_exported,
    metric_of,
    read_config,
    write_config,
)
from percert.metrics.certified.lipsim import authors_network
from percert.tensors import Embeddings, Images

#: Directions that pages span.
AXES = 8
#: Pages of each kind, and the seed they are drawn with: the published ones are of seed 0.
COUNT, SEED = 16, 1


@torch.no_grad()
def fit_centre(network: LipschitzNetwork, resize: Resize) -> None:
    """Set what the :class:`~percert.lipschitz.centre.Centre` that ``network`` ends in holds.

    The centre is the embedding of a plain grey picture, which for a network that subtracts each
    channel's mean is that of every plain picture. The axes are the first principal directions of
    the embeddings of drawn pages (:mod:`percert.data.plain_pictures`) from there, and ``least`` is
    the content that none of these pages has, in two digits, rounded up. Raises ``ValueError`` for a
    network that ends in none.
    """
    layer = centre_of(network)
    if layer is None:
        raise ValueError(f"{network.name}: expected a network that ends in a Centre")
    was_training = network.training
    network.eval()
    device = layer.centre.device
    grey = torch.full((1, 3, *network.resolution), 0.5, device=device)
    layer.centre.zero_()
    layer.centre.copy_(network(grey)[0])
    if len(layer.axes):
        pages = torch.cat([_embed(network, resize, page) for page in _pages()]).double()
        _, _, directions = torch.linalg.svd(pages, full_matrices=False)
        layer.axes.copy_(directions[: len(layer.axes)])
        layer.least.zero_()
        held = layer.content().margin(pages.float())
        layer.least.fill_(np.ceil(10 * float(held.max())) / 10)
    network.train(was_training)


@cache
def _pages() -> tuple[Tensor, ...]:
    """Batches of drawn pages ``(n, 3, h, w)``, one a kind: two seconds of work, done once."""
    return tuple(
        torch.stack(
            [
                torch.from_numpy(np.array(page)).permute(2, 0, 1) / 255
                for page in plain_pictures(kind, COUNT, SEED)
            ]
        )
        for kind in PAGES
    )


def _embed(network: LipschitzNetwork, resize: Resize, pages: Tensor) -> Embeddings:
    like = next(network.buffers())
    found: Embeddings = network(resize(pages.to(like)))
    return found


class Student(nn.Module):
    """Images of any size to raw embeddings ``(n, k)``: never normalised, no c appended.

    While it is trained, embeddings count from that of a plain picture as it is now, where
    ``centred``; the network's own centre is set when training ends (:func:`finish`).

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


def student_from(model: Path, name: str) -> tuple[Student, NetworkShape]:
    """The student in the folder of a finished run or an exported model, and its shape.

    ``model`` may be a file of the authors' as well. Raises ``ValueError`` for what is neither.
    """
    if model.is_file():
        network, shape = authors_network(model, name)
        return Student(network, shape), shape
    metric = load_exported(model)
    shape = read_config(model).shape
    found = metric.network.float().requires_grad_(True)
    assert isinstance(found, LipschitzNetwork)  # what build_network gives
    found.name = name
    return Student(found, shape), shape


def finish(
    student: Student,
    shape: NetworkShape,
    name: str,
    out: Path,
    fabric: Any,
    trained: dict[str, object],
    *,
    copy_threshold: float | None = None,
) -> EmbeddingMetric:
    """The metric of a trained student, its centre set where it has one, on the CPU.

    The first process of ``fabric`` writes it into ``out``, as :func:`save_model` does; the others
    wait for it.
    """
    network = student.network.cpu()
    if centre_of(network) is not None:
        fit_centre(network, student.resize)
    if fabric.is_global_zero:
        save_model(network, shape, name, out, trained, copy_threshold=copy_threshold)
    fabric.barrier()
    return metric_of(ModelCard(name, shape, ""), network)


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
    write_weights(network, out)
    write_config(card, out)


def write_weights(network: nn.Module, out: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write ``model.safetensors`` into the folder ``out``, whole or not at all; its path."""
    held = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    with replacing(out / WEIGHTS) as unfinished:
        save_file(held, unfinished, metadata=None if metadata is None else dict(metadata))
    return out / WEIGHTS


#: Where I + Q is this close to singular, Q has no Cayley parameters that float64 could hold.
NEAREST = 1e-6


def inverse_cayley(orthogonal: Tensor) -> Tensor | None:
    """P with ``cayley(P) == orthogonal``, or ``None`` where -1 is nearly an eigenvalue.

    >>> q = cayley(torch.randn(4, 4, dtype=torch.float64))
    >>> bool(torch.allclose(cayley(inverse_cayley(q)), q))
    True
    """
    identity = torch.eye(len(orthogonal), dtype=orthogonal.dtype, device=orthogonal.device)
    if torch.linalg.svdvals(identity + orthogonal)[-1] < NEAREST:
        return None
    skew: Tensor = torch.linalg.solve(identity + orthogonal, identity - orthogonal)
    return (skew - skew.T) / 4  # P - P^T is the skew part


class WeightAverage:
    """The exponential moving average of ``network``'s weights with ``decay``.

    ``tensors`` are what it holds, by name, float32: for a checkpoint. ``update`` after each step;
    ``state_dict`` gives weights to load into a copy of the network. Early steps weigh more, as
    ``min(decay, (1 + n) / (10 + n))`` after n steps, so that the start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"average: expected a decay between 0 and 1, found {decay}")
        self.decay = decay
        self.steps = 0
        self._mixes = {
            f"{name}.square" if name else "square"
            for name, module in network.named_modules()
            if isinstance(module, OrthogonalMix) and module.form == "cayley"
        }
        self.tensors = self._seen(network)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Add ``network``'s present weights to the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._seen(network).items():
            self.tensors[name].lerp_(value, 1 - decay)
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the averaged network."""
        found = {}
        for name, value in self.tensors.items():
            if name.endswith(".plain"):
                continue
            found[name] = value.clone()
            if name.rpartition(".")[2] == "frame":
                found[name] = torch.stack([polar(q.double()) for q in value]).to(value.dtype)
            if name in self._mixes:
                plain = self.tensors[f"{name}.plain"]
                found[name] = torch.stack(
                    [self._parameters(q, p) for q, p in zip(value, plain, strict=True)]
                ).to(plain.dtype)
        return found

    @staticmethod
    def _parameters(average: Tensor, plain: Tensor) -> Tensor:
        """The Cayley parameters of the nearest orthogonal matrix, or the averaged parameters."""
        found = inverse_cayley(polar(average.double()))
        return plain if found is None else found.to(plain.dtype)

    @torch.no_grad()
    def _seen(self, network: nn.Module) -> dict[str, Tensor]:
        seen = {}
        for name, value in network.state_dict().items():
            if name in self._mixes:
                seen[name] = torch.stack([cayley(block.double()) for block in value]).float()
                seen[f"{name}.plain"] = value.detach().clone()
            else:
                seen[name] = value.detach().clone()
        return seen
