"""The certified metrics that have names: LipSim, lipsim-tiny and thumbnails.

The LipSim metrics: the authors' networks, with their weights or with yours.

``lipsim-tiny``: the embedded default, a compact 1-Lipschitz network at 64 px.

Thumbnails as embeddings: the linear baseline, without any training.
"""

from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from percert.images import Resize
from percert.lipschitz.architectures import (
    RESOLUTION,
    SIZES,
    TinyShape,
    lipsim_network,
    read_authors_checkpoint,
    tiny_network,
)
from percert.lipschitz.centre import Centre
from percert.lipschitz.fixed_layers import Flatten, SubtractMean
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.certified.embedding import EmbeddingMetric

#: Where the authors link their weights. Their licence is not stated there.
PUBLISHED = "https://github.com/SaraGhazanfari/lipsim (README, section Checkpoints)"


def lipsim(size: str, checkpoint: Path | str | None) -> EmbeddingMetric:
    """LipSim ``size`` ("small", "medium", "large"): 224 x 224 inside, embeddings of 1792 values.

    ``checkpoint`` is the authors' PyTorch file, a ``.safetensors`` of a ``lipsim_network``'s state
    dict, or ``"random"`` for seeded random weights. Images are resized by antialiased bicubic
    interpolation, the kind the authors evaluate with (they round to 8 bits after it, we do not),
    and a constant 1 is appended to the embedding as theirs (Ghazanfari et al., section 4.2).
    Raises ``ValueError`` without a checkpoint and for one that does not fit.

    >>> lipsim("small", None)
    Traceback (most recent call last):
    ValueError: lipsim-small: needs a checkpoint: ...
    """
    if size not in SIZES:
        raise ValueError(f"lipsim: expected size {', '.join(map(repr, SIZES))}, found {size!r}")
    name, shape = f"lipsim-{size}", SIZES[size]
    if checkpoint is None:
        raise ValueError(
            f"{name}: needs a checkpoint: download the authors' weights from {PUBLISHED} and pass "
            'the file, or a .safetensors of your own, or "random" for untrained weights'
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lipsim_network(shape, name)
    if str(checkpoint) != "random":
        path = Path(checkpoint)
        if path.suffix == ".safetensors":
            load_own(network, path)
        else:
            network.load_state_dict(read_authors_checkpoint(path, shape))
    resize = Resize((shape.side, shape.side), "bicubic")
    # float64: what float32 may lose is more than the radii of this network.
    return EmbeddingMetric(network.double().eval(), resize, constant=1.0, name=name).eval()


def load_own(network: LipschitzNetwork, path: Path) -> None:
    """Loads a state dict from safetensors. Raises ``ValueError`` where it does not fit."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError(f"{path}: holds NaN or infinite values")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {network.name}: {error}") from error


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
