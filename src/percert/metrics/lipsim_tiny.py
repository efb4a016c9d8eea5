"""``lipsim-tiny``: the embedded default, a compact 1-Lipschitz network at 64 px."""

from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from percert.images import Resize
from percert.lipschitz.centre import Centre
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.tiny import RESOLUTION, TinyShape, tiny_network
from percert.metrics.embedding import EmbeddingMetric


def lipsim_tiny(checkpoint: Path | str | None = None) -> EmbeddingMetric:
    """The metric with the weights in the package, or those of a safetensors file.

    A checkpoint must have the shape of the embedded network, which ``recipes/lipsim-tiny.toml``
    trains, with or without a :class:`~percert.lipschitz.centre.Centre`; ``"random"`` gives seeded
    random weights, for tests. Raises ``ValueError`` for a file that is missing, not safetensors, or
    of another shape.

    >>> metric = lipsim_tiny()
    >>> photo = torch.rand(1, 3, 80, 120)
    >>> bool(metric(photo, photo.flip(-1)) < 1e-9)  # blind to mirroring, by construction
    True
    """
    if checkpoint == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = tiny_network(TinyShape())
    elif checkpoint is None:
        network = _shipped()
        network.layers.append(_shipped_centre())
    else:
        network = _load(Path(checkpoint))
    return _metric(network)


def lipsim_tiny_uncentred() -> EmbeddingMetric:
    """The metric as it was before its embeddings had a centre, for stores that were made with it.

    The same weights without the last layer: name and hash are those that such a store holds.

    >>> plain = torch.full((1, 3, 64, 64), 0.5)
    >>> [f"{metric.embed(plain).norm():.3f}" for metric in (lipsim_tiny_uncentred(), lipsim_tiny())]
    ['8.479', '0.000']
    """
    return _metric(_shipped())


def _shipped() -> LipschitzNetwork:
    with as_file(files("percert") / "weights" / "lipsim-tiny.safetensors") as path:
        return _load(path)


def _shipped_centre() -> Centre:
    with as_file(files("percert") / "weights" / "lipsim-tiny-centre.safetensors") as path:
        held = load_file(path)
    axes, width = held["axes"].shape
    centre = Centre(width, axes)
    centre.load_state_dict(held)
    return centre


def _metric(network: LipschitzNetwork) -> EmbeddingMetric:
    return EmbeddingMetric(
        # float64: what float32 may lose is far more than what certificates should.
        network.double().eval().requires_grad_(False),
        # Exact area averages: of all resizes the one that keeps the most signal for its norm.
        Resize(RESOLUTION, "box"),
        name="lipsim-tiny",
    ).eval()


def _load(path: Path) -> LipschitzNetwork:
    network = tiny_network(TinyShape())
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
    axes = weights.get(f"layers.{len(network.layers)}.axes")
    if axes is not None and axes.ndim == 2:
        network.layers.append(Centre(TinyShape().embedding, len(axes)))
    expected = network.state_dict()
    missing = sorted(set(expected) - set(weights))
    unexpected = sorted(set(weights) - set(expected))
    if missing or unexpected:
        name, verb = (missing[0], "is missing") if missing else (unexpected[0], "is unexpected")
        raise ValueError(f"{path}: not weights of lipsim-tiny: {name} {verb}")
    for name, value in expected.items():
        if weights[name].shape != value.shape:
            raise ValueError(
                f"{path}: not weights of lipsim-tiny: {name} has shape "
                f"{tuple(weights[name].shape)}, expected {tuple(value.shape)}"
            )
        if not bool(weights[name].isfinite().all()):
            raise ValueError(f"{path}: {name} holds NaN or infinite values")
    network.load_state_dict(weights)
    return network
