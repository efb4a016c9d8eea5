"""The certified metrics that have names: LipSim, lipsim-tiny, lipsim-base and thumbnails."""

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, final, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from percert.check import check_choice
from percert.images import Resize
from percert.lipschitz.architectures import (
    RESOLUTION,
    SIZES,
    LipSimSize,
    TinyShape,
    read_authors_checkpoint,
    tiny_network,
)
from percert.lipschitz.centre import Centre
from percert.lipschitz.fixed_layers import Flatten, SubtractMean
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import CONSTANTS, Constant, NetworkShape, build_network
from percert.models.weights import seeded

#: The metrics of the embedded network, by version: its first weights, the same with a centre, and
#: those that were trained anew. A store is opened with the weights that made it, so all are kept.
VERSIONS = ("lipsim-tiny-uncentred", "lipsim-tiny-1", "lipsim-tiny")
#: Where the authors link their weights. Their licence is not stated there.
PUBLISHED = "https://github.com/SaraGhazanfari/lipsim (README, section Checkpoints)"


@final
class LipSimTiny(EmbeddingMetric):
    """``lipsim-tiny``, the default: a compact 1-Lipschitz network at 64 px, in [0, 2].

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and gives
    ``(n,)``, float64. Blind to mirroring, by construction; made for copies and edits. The weights
    come with percert. ``checkpoint`` is a safetensors file of others, which must have the shape of
    the embedded network, that ``recipes/lipsim-tiny.toml`` trains, with or without a
    :class:`~percert.lipschitz.centre.Centre`; ``"random"`` gives seeded random weights, for tests.
    Raises ``ValueError`` for a file that is missing, not safetensors, or of another shape.

    ``version`` is the place of a name in :data:`VERSIONS`: 1 has the weights that came before,
    trained on less, and 0 these before their embeddings had a centre, both for stores that were
    made with them.

    >>> metric, photo = LipSimTiny(), torch.rand(1, 3, 80, 120)
    >>> bool(metric(photo, photo.flip(-1)) < 1e-9)
    True
    >>> plain = torch.full((1, 3, 64, 64), 0.5)
    >>> [f"{LipSimTiny(version=v).embed(plain).norm():.3f}" for v in (0, 1, 2)]
    ['8.479', '0.000', '0.000']
    """

    def __init__(
        self, checkpoint: str | Path | None = None, *, version: Literal[0, 1, 2] = 2
    ) -> None:
        if version not in range(len(VERSIONS)) or (version < 2 and checkpoint is not None):
            raise ValueError(
                "lipsim-tiny: expected version 2, or 0 or 1 without a checkpoint, found "
                f"version {version}{'' if checkpoint is None else f' and {checkpoint}'}"
            )
        network = _network(VERSIONS[max(version, 1)], TinyShape(), checkpoint)
        if version == 1:
            network.layers.append(_shipped_centre())
        super().__init__(
            # float64: what float32 may lose is far more than what certificates should.
            network.double().eval().requires_grad_(False),
            # Exact area averages: of all resizes the one that keeps the most signal for its norm.
            Resize(RESOLUTION, "box"),
            name=VERSIONS[version],
        )
        self.eval()


#: ``lipsim-base``: another scale in front of those of ``lipsim-tiny``.
BASE = TinyShape(width=64, depths=(3, 3, 3, 3))


@final
class LipSimBase(EmbeddingMetric):
    """``lipsim-base``: the network of ``lipsim-tiny`` one scale larger, at 128 px, in [0, 2].

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], as :class:`LipSimTiny` does, at 2.3
    times the work. It knows copies as well, and of what people see more. The weights come with
    a checkout of percert and not with the installed package: there ``checkpoint`` names the file,
    ``lipsim-base.safetensors``, or another that ``recipes/lipsim-base.toml`` trains; ``"random"``
    gives seeded random weights, for tests. Raises ``ValueError`` where the weights are not there,
    for a file that is not safetensors, or of another shape.

    >>> metric, photo = LipSimBase("random"), torch.rand(1, 3, 80, 120)
    >>> bool(metric(photo, photo.flip(-1)) < 1e-9)
    True
    """

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        name = "lipsim-base"
        network = _network(name, BASE, checkpoint)
        network.name = name
        super().__init__(
            network.double().eval().requires_grad_(False),
            Resize((BASE.side, BASE.side), "box"),
            name=name,
        )
        self.eval()


def _network(name: str, shape: TinyShape, checkpoint: str | Path | None) -> LipschitzNetwork:
    """The network that a metric's ``checkpoint`` means: ``None`` is the one that has its name."""
    if checkpoint == "random":
        return seeded(lambda: tiny_network(shape))
    if checkpoint is not None:
        return _load(Path(checkpoint), name, shape)
    shipped = files("percert") / "weights" / f"{name}.safetensors"
    if not shipped.is_file():  # pyproject.toml leaves the largest out of what is installed
        raise ValueError(
            f"{name}: its weights are not installed with percert; name the file "
            f"src/percert/weights/{name}.safetensors of a checkout as the checkpoint"
        )
    with as_file(shipped) as path:
        return _load(path, name, shape)


def _shipped_centre() -> Centre:
    with as_file(files("percert") / "weights" / "lipsim-tiny-1-centre.safetensors") as path:
        held = load_file(path)
    axes, width = held["axes"].shape
    centre = Centre(width, axes)
    centre.load_state_dict(held)
    return centre


def _load(path: Path, name: str, shape: TinyShape) -> LipschitzNetwork:
    network = seeded(lambda: tiny_network(shape))
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
    axes = weights.get(f"layers.{len(network.layers)}.axes")
    if axes is not None and axes.ndim == 2:
        network.layers.append(Centre(shape.embedding, len(axes)))
    expected = network.state_dict()
    missing = sorted(set(expected) - set(weights))
    unexpected = sorted(set(weights) - set(expected))
    if missing or unexpected:
        key, verb = (missing[0], "is missing") if missing else (unexpected[0], "is unexpected")
        raise ValueError(f"{path}: not weights of {name}: {key} {verb}")
    for key, value in expected.items():
        if weights[key].shape != value.shape:
            raise ValueError(
                f"{path}: not weights of {name}: {key} has shape "
                f"{tuple(weights[key].shape)}, expected {tuple(value.shape)}"
            )
        if not bool(weights[key].isfinite().all()):
            raise ValueError(f"{path}: {key} holds NaN or infinite values")
    network.load_state_dict(weights)
    return network


@final
class LipSim(EmbeddingMetric):
    """LipSim's networks of SLL layers, 224 x 224 inside, embeddings of 1792 values, in [0, 2].

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and gives
    ``(n,)``, float64. ``size`` is ``"small"``, ``"medium"`` or ``"large"``. ``checkpoint`` is the
    authors' PyTorch file, whose inner widths it takes, a ``.safetensors`` of a ``lipsim_network``'s
    state dict, or ``"random"`` for seeded random weights. ``embedding`` is the number of values
    that are kept, the teacher's: 1792 of the ensemble (the default), 768 of DINO, 512 of OpenCLIP.
    Images are
    resized by antialiased bicubic interpolation, the kind the authors evaluate with (they round to
    8 bits after it, we do not). ``constant``: a 1 is ``"appended"`` to the embedding (Ghazanfari et
    al., ICLR 2024, section 4.2, by their code), 2 / sqrt(k) ``"added"`` to each of its k values, as
    their code had it in November 2023, or ``"none"``. Raises ``ValueError`` without a checkpoint
    and for one that does not fit.

    >>> LipSim("small")
    Traceback (most recent call last):
    ValueError: lipsim-small: needs a checkpoint: ...
    """

    def __init__(
        self,
        size: Literal["small", "medium", "large"] = "small",
        checkpoint: str | Path | None = None,
        *,
        embedding: int | None = None,
        constant: Constant = "appended",
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"lipsim: expected size {', '.join(map(repr, SIZES))}, found {size!r}")
        check_choice(constant, get_args(Constant), "constant")
        name, own = f"lipsim-{size}", SIZES[size]
        if embedding is not None:
            own = replace(own, embedding=embedding)
        if checkpoint is None:
            raise ValueError(
                f"{name}: needs a checkpoint: download the authors' weights from {PUBLISHED} and "
                'pass the file, or a .safetensors of your own, or "random" for untrained weights'
            )
        path = Path(checkpoint)
        theirs = str(checkpoint) != "random" and path.suffix != ".safetensors"
        state, found = read_authors_checkpoint(path, own) if theirs else ({}, own)
        shape = authors_shape(found, constant)
        network = seeded(lambda: build_network(shape, name))
        if theirs:
            network.load_state_dict(state)
        elif str(checkpoint) != "random":
            load_own(network, path)
        # float64: what float32 may lose is more than the radii of this network.
        network = network.double().eval().requires_grad_(False)
        resize = Resize(shape.resolution, shape.resize)
        super().__init__(network, resize, constant=shape.constant, name=name)
        self.shape = shape
        self.eval()


def authors_shape(size: LipSimSize, constant: Constant = "appended") -> NetworkShape:
    """The shape of the authors' network of ``size``, with what they do to its embedding.

    >>> shape = authors_shape(SIZES["small"], "added")
    >>> shape.constant, shape.added, shape.resize
    (0.0, 2.0, 'bicubic')
    """
    appended, added = CONSTANTS[constant]
    return NetworkShape(family="lipsim", lipsim=size, constant=appended, added=added)


def authors_network(
    path: Path, name: str, *, embedding: int = 1792
) -> tuple[LipschitzNetwork, NetworkShape]:
    """The network in the authors' file, of whatever size it is, and its shape; a 1 is appended.

    Raises ``ValueError`` for a file that is none.
    """
    state, size = read_authors_checkpoint(path, embedding=embedding)
    shape = authors_shape(size)
    network = seeded(lambda: build_network(shape, name))
    network.load_state_dict(state)
    return network, shape


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


@final
class Thumbnail(EmbeddingMetric):
    """``side`` x ``side`` thumbnails, compared blind to a uniform change of colour, in [0, 2].

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and gives
    ``(n,)``, float64. Each thumbnail pixel is the average of the image over its rectangle, less the
    mean of them all: a linear map, and 1-Lipschitz exactly. In units of the image's pixels the
    embedding is long (n / L around 80 at 299 px), so copies are certified far out. Weak against
    crops, and blind to meaning. In float64, because subtracting the mean of a picture of low
    contrast would cost float32 its digits, and two images without any contrast are equal here.

    >>> metric, grey = Thumbnail(8), torch.full((1, 3, 20, 30), 0.5)
    >>> metric(grey, 0.5 * grey).item()
    0.0
    """

    def __init__(self, side: int = 8) -> None:
        name = f"thumbnail-{side}"
        layers = (SubtractMean(), Flatten())
        network = LipschitzNetwork(layers, resolution=(side, side), name=name)
        super().__init__(network, Resize((side, side), "box"), name=name)
        self.double().eval()
