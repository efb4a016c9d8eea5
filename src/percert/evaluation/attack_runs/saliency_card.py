"""Saliency networks in ONNX files: what is done to images before them, and to maps after."""

from dataclasses import dataclass, replace
from pathlib import Path

from percert.models.card import Channels
from percert.toml_file import from_table, read_toml

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class SaliencyCard:
    """A saliency network in an ONNX ``file``, and what is done before and after it.

    ``mean``, ``std``, ``channels``, ``scale`` and ``size`` as for classifiers
    (:class:`~percert.models.Preprocessing`); without a ``size`` images go in as large as the file
    says, or as they are. ``output`` is the place of the map among the outputs, the last
    being -1. ``sigmoid`` is applied to it where the file ends before; ``stretch`` spreads each map
    over [0, 1].
    """

    file: Path
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: Channels = "rgb"
    scale: float = 1.0
    size: tuple[int, int] | None = None
    output: int = 0
    sigmoid: bool = False
    stretch: bool = True


#: EGNet (Zhao et al. 2019) by its authors' code: Caffe's channels and mean, images of their own
#: size, the last output, and a sigmoid that comes after the network.
EGNET = SaliencyCard(
    file=Path("egnet.onnx"),
    mean=(104.00699, 116.66877, 122.67892),
    std=(1.0, 1.0, 1.0),
    channels="bgr",
    scale=255.0,
    output=-1,
    sigmoid=True,
    stretch=False,
)


def card_of(file: Path) -> SaliencyCard:
    """The card of an ONNX ``file`` without one: EGNet's where it is called so, else U2-Net's.

    >>> card_of(Path("weights/EGNet-resnet50.onnx")).channels, card_of(Path("u2net.onnx")).channels
    ('bgr', 'rgb')
    """
    return replace(EGNET, file=file) if "egnet" in file.stem.lower() else SaliencyCard(file=file)


def read_saliency_card(path: Path) -> SaliencyCard:
    """The card in the TOML file at ``path``; its ``file`` counts from there.

    Raises ``ValueError`` for a file that is missing or no TOML, unknown or missing keys, and
    values of another type.
    """
    entries = read_toml(path)
    if "file" not in entries:
        raise ValueError(f"{path}: expected a key 'file', the network's ONNX file")
    card = from_table(SaliencyCard, entries, str(path))
    return replace(card, file=path.parent / card.file)
