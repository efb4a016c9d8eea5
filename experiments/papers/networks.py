"""The networks of LipSim's tables: the published ones where their weights are, else stand-ins."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from experiments.papers.item import Setting, weights_file
from percert.images import Resize
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import direction
from percert.metrics.deep.weight_files import UnavailableError
from percert.models.imagenet_networks import squeezenet
from percert.tensors import Images

#: The paper's network, taken where its weights lie in the data folder under this name.
PAPERS_OWN = "lipsim-small"
OURS, RIVAL = "lipsim-tiny", "SqueezeNet's features"


@dataclass(frozen=True, eq=False)
class Judge:
    """A metric that is measured: what it is called here, and whose numbers it stands beside.

    ``key`` names its folder of records. ``words`` say what it is; ``own`` whether it is the
    paper's.
    """

    title: str
    paper: str
    key: str
    metric: nn.Module
    words: str
    own: bool = False

    @property
    def name(self) -> str:
        """What rows call it: the paper's name, and what stands in for it."""
        if self.own or not self.paper:
            return self.paper or self.title
        return f"{self.paper}, here {self.title}"


#: The side at which SqueezeNet looks at larger images, as copy detection by it does
#: (percert.evaluation.copies.detector): at 224 it would take most of a run's time.
LOOKS_AT = 128


class PlainFeatures(nn.Module):
    """SqueezeNet's features of unit length, compared by their cosine, without any bound.

    Images larger than :data:`LOOKS_AT` are resized to that first, bilinear with antialiasing.
    """

    #: Attacks on triplets embed what stays once, and not in every step.
    angle = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.resize = Resize((LOOKS_AT, LOOKS_AT), "bilinear")

    def embed(self, images: Images) -> Tensor:
        """Unit vectors ``(n, k)``."""
        small = self.resize(images) if min(images.shape[2:]) > LOOKS_AT else images
        features: Tensor = direction(self.network.embed(small))  # type: ignore[operator]  # torch types attributes as modules
        return features

    def forward(self, reference: Images, candidate: Images) -> Tensor:
        return 1 - (self.embed(reference) * self.embed(candidate)).sum(1)


def weights_folder(setting: Setting) -> Path | None:
    """``weights`` in the data folder, where published files lie; ``None`` where it is not there."""
    folder = None if setting.data is None else setting.data / "weights"
    return folder if folder is not None and folder.is_dir() else None


def lipsim_there(setting: Setting) -> Judge:
    """The authors' LipSim where its weights are in the data folder, else ``lipsim-tiny``."""
    places = [] if setting.data is None else [setting.data, setting.data / "weights"]
    names = [f"{PAPERS_OWN}{suffix}" for suffix in (".pth", ".pt", ".safetensors")]
    found = [place / name for place in places for name in names if (place / name).is_file()]
    if not found:
        return Judge(
            OURS,
            "LipSim",
            OURS,
            _module(OURS, None, setting),
            f"{OURS}, which comes with percert, stands for the authors' LipSim: their weights are "
            "not here. It was never trained on people's judgements.",
        )
    return Judge(
        "LipSim",
        "LipSim",
        PAPERS_OWN,
        _module(PAPERS_OWN, found[0], setting),
        f"LipSim is {PAPERS_OWN} with the weights in {found[0].name}.",
        own=True,
    )


def dreamsim_there(setting: Setting) -> Judge:
    """DreamSim where its weights are in the data folder, else SqueezeNet's features.

    Raises ``ValueError`` where DreamSim's package does not work, and
    :class:`~experiments.papers.item.MissingDataError` where SqueezeNet's weights are not there.
    """
    folder = weights_folder(setting)
    if folder is not None and (folder / "dreamsim").is_dir():
        own = _module("dreamsim", folder / "dreamsim", setting)
        words = "DreamSim through its authors' package, with the weights in weights/dreamsim."
        return Judge("DreamSim", "DreamSim", "dreamsim", own, words, own=True)
    network = squeezenet(weights_file(setting)).to(setting.device)
    return Judge(
        RIVAL,
        "DreamSim",
        "squeezenet-features",
        PlainFeatures(network).eval().requires_grad_(False),
        f"{RIVAL} at {LOOKS_AT} x {LOOKS_AT}, without any bound, stand for DreamSim, whose "
        "weights are not here.",
    )


def catalog_judge(name: str, paper: str, setting: Setting) -> Judge | None:
    """A metric of the catalog, ``None`` where its published weights are not in DATA/weights.

    Raises ``ValueError`` where a file of their name is there and is something else.
    """
    card, folder = metric_card(name), weights_folder(setting)
    if card.checkpoint == "none" or card.checkpoint == "optional":
        return Judge(paper or name, paper, name, _module(name, None, setting), "", own=bool(paper))
    if folder is None:
        return None
    try:
        metric = _module(name, folder, setting)
    except UnavailableError:  # some other weights are there
        return None
    return Judge(paper or name, paper, name, metric, f"{paper}: {name}, weights/.", own=True)


def _module(name: str, checkpoint: Path | None, setting: Setting) -> nn.Module:
    return cast(nn.Module, create_metric(name, checkpoint=checkpoint, device=setting.device))
