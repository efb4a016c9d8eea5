"""Networks of one's own as metrics: a folder of ``config.json`` and ``model.safetensors``."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from percert.check import check_choice
from percert.extras import install_extra
from percert.files import write_whole
from percert.images import Resize
from percert.lipschitz.architectures import LipSimSize, TinyShape, lipsim_network, tiny_network
from percert.lipschitz.centre import Centre
from percert.lipschitz.fixed_layers import AddConstant, FlipConcat
from percert.lipschitz.network import LipschitzNetwork, non_finite_weights, weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = "percert-lipschitz-1"
HUB = "hf-hub:"
ResizeMode = Literal["bicubic", "bilinear", "area", "box"]


#: What the authors of LipSim do to an embedding of k values before they normalise it: their code
#: appends a 1, in November 2023 it added 2 / sqrt(k) to each value, and the paper's text does
#: neither. Nobody can tell which made its tables. By name: what is appended, and what is added.
Constant = Literal["appended", "added", "none"]
CONSTANTS: dict[Constant, tuple[float, float]] = {
    "appended": (1.0, 0.0),
    "added": (0.0, 2.0),
    "none": (0.0, 0.0),
}


@dataclass(frozen=True)
class NetworkShape:
    """All that decides what a network and its metric are, but the weights.

    ``family`` is ``"lipsim"`` (the paper's SLL network of shape ``lipsim``) or ``"tiny"`` (the
    orthogonal one of shape ``tiny``). ``flip_concat`` joins the embeddings of an image and its
    mirror image. ``constant`` is the c that is appended to embeddings (the paper's: 1), ``added``
    the length of a constant that is added to them instead (see :data:`CONSTANTS`), ``resize`` how
    images are brought to the network's size. ``centre_axes`` is the number of axes of the
    :class:`~percert.lipschitz.centre.Centre` that the network ends in; ``None`` for none.

    >>> NetworkShape(family="tiny").resolution
    (64, 64)
    """

    family: Literal["lipsim", "tiny"] = "lipsim"
    lipsim: LipSimSize = field(
        default_factory=lambda: LipSimSize(depth=20, channels=45, dense_depth=7, dense_inner=1024)
    )
    tiny: TinyShape = field(default_factory=TinyShape)
    flip_concat: bool = False
    constant: float = 1.0
    added: float = 0.0
    resize: ResizeMode = "bicubic"
    centre_axes: int | None = None

    def __post_init__(self) -> None:
        check_choice(self.family, ("lipsim", "tiny"), "family")
        check_choice(self.resize, ("bicubic", "bilinear", "area", "box"), "resize")
        for name in ("constant", "added"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, found {getattr(self, name)}")
        if self.centre_axes is not None and not 0 <= self.centre_axes < self.width:
            raise ValueError(
                f"centre_axes: expected 0 to {self.width - 1}, found {self.centre_axes}"
            )

    @property
    def resolution(self) -> tuple[int, int]:
        """The (height, width) that the network sees."""
        side = self.tiny.side if self.family == "tiny" else self.lipsim.side
        return side, side

    @property
    def width(self) -> int:
        """The number of values of an embedding."""
        own = self.tiny.embedding if self.family == "tiny" else self.lipsim.embedding
        return own * (2 if self.flip_concat else 1)


@dataclass(frozen=True)
class ModelCard:
    """What ``config.json`` holds: the shape, the hash of the weights, and what is worth knowing."""

    name: str
    shape: NetworkShape
    weights: str
    feature_error: float | None = None
    copy_threshold: float | None = None
    trained: dict[str, Any] = field(default_factory=dict)


def build_network(shape: NetworkShape, name: str) -> LipschitzNetwork:
    """The network of a shape, with fresh random weights from torch's global generator.

    >>> build_network(NetworkShape(family="tiny", flip_concat=True), "mine").lipschitz_bound().value
    1.0
    """
    if shape.family == "tiny":
        network = tiny_network(shape.tiny)
        network.name = name
    else:
        network = lipsim_network(shape.lipsim, name)
    if shape.flip_concat:
        network = LipschitzNetwork([FlipConcat(network)], resolution=shape.resolution, name=name)
    if shape.added:
        network.layers.append(AddConstant(shape.added))
    if shape.centre_axes is not None:
        network.layers.append(Centre(shape.width, shape.centre_axes))
    return network


def metric_of(card: ModelCard, network: nn.Module) -> EmbeddingMetric:
    """The metric of a network of ``card``'s shape, in evaluation mode and float64, as it makes it.

    float64, because what float32 may lose is far more than what certificates should.
    """
    return EmbeddingMetric(
        network.double(),
        Resize(card.shape.resolution, card.shape.resize),
        constant=card.shape.constant,
        name=card.name,
        feature_error=card.feature_error,
    ).eval()


def write_config(card: ModelCard, folder: Path) -> None:
    """Write ``config.json`` into ``folder``."""
    held = {"format": FORMAT, "library_name": "percert", **asdict(card)}
    write_whole(folder / CONFIG, json.dumps(held, indent=2) + "\n")


def read_config(folder: Path) -> ModelCard:
    """The card in ``folder``. Raises ``ValueError`` for a file that is missing or something else.

    A key that is not known is an error: a later version's meaning is not to be guessed.
    """
    path = folder / CONFIG
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; an exported model has {CONFIG}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        found = held.get("format") if isinstance(held, dict) else type(held).__name__
        raise ValueError(f"{path}: expected the format {FORMAT!r}, found {found!r}")
    try:
        shape = dict(held["shape"])
        shape["lipsim"] = LipSimSize(**shape["lipsim"])
        shape["tiny"] = TinyShape(**shape["tiny"])
        known = {f.name for f in fields(ModelCard)} - {"shape"}
        rest = {k: v for k, v in held.items() if k not in ("format", "library_name", "shape")}
        if unknown := sorted(set(rest) - known):
            raise ValueError(f"unknown key {unknown[0]!r}")
        return ModelCard(shape=NetworkShape(**shape), **rest)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a card of a network ({error})") from None


def load_exported(folder: Path) -> EmbeddingMetric:
    """The metric in an exported folder (``percert export``), in evaluation mode.

    Raises ``ValueError`` where a file is missing, does not fit the card, holds NaN, or has other
    weights than those whose hash the card states.
    """
    card = read_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    network = build_network(card.shape, card.name)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {CONFIG}: {error}") from error
    if non_finite_weights(network):
        raise ValueError(f"{path}: holds NaN or infinite values")
    if weights_hash(network) != card.weights:
        raise ValueError(f"{path}: has other weights than {CONFIG} states (their hashes differ)")
    return metric_of(card, network.eval().requires_grad_(False))


def is_exported(name: str) -> bool:
    """Whether ``name`` means an exported model rather than a metric of the catalog.

    >>> is_exported("hf-hub:someone/lipsim"), is_exported("lipsim-tiny")
    (True, False)
    """
    return name.startswith(HUB) or "/" in name or (Path(name) / CONFIG).is_file()


def exported_folder(name: str) -> Path:
    """The folder that ``name`` means: itself, or what ``hf-hub:OWNER/NAME[@REVISION]`` leads to.

    A hub's repository is fetched, or taken from its cache, by ``huggingface_hub``. Raises
    ``ValueError`` where that is not installed or cannot get it.
    """
    if not name.startswith(HUB):
        folder = Path(name)
        if not folder.is_dir():
            raise ValueError(f"{name}: no such folder of an exported model")
        return folder
    repository, _, revision = name.removeprefix(HUB).partition("@")
    if Path(repository, CONFIG).is_file():
        return Path(repository)
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ValueError(
            f"{name}: needs huggingface_hub ({install_extra('hub')}), or a local copy of the "
            "repository, whose folder is a metric's name as well"
        ) from None
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS]
        )
    except Exception as error:  # the hub's client fails in many ways
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name}: cannot be fetched ({why}); copy the repository's {CONFIG} and {WEIGHTS} into "
            "a folder, and name that folder"
        ) from error
    return Path(found)
