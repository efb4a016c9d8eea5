"""Metrics that are measured: the published ones where their weights are, else stand-ins."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from experiments.papers.digests import published_stand, weights_stand
from experiments.papers.item import Setting, StandIn, weights_file
from percert.images import Resize
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import direction
from percert.metrics.deep import backbones, dists, lpips
from percert.metrics.deep.weight_files import UnavailableError
from percert.models.imagenet_networks import squeezenet
from percert.tensors import Images

RIVAL = "SqueezeNet's features"


@dataclass(frozen=True, eq=False)
class Judge:
    """A metric that is measured: what it is called here, and whose numbers it stands beside.

    ``key`` names its folder of records. ``words`` say what else to know of it. ``stand`` is what it
    stands for, ``None`` of the paper's own, known by the digests of its weights.
    """

    title: str
    paper: str
    key: str
    metric: nn.Module
    words: str = ""
    stand: StandIn | None = None

    @property
    def own(self) -> bool:
        """Whether it is the paper's."""
        return bool(self.paper) and self.stand is None

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
    """What ``network`` makes of images, at unit length and compared by the cosine, without a bound.

    ``embed`` gives that, ``(n, k)``. Images larger than ``side``, where it is given, are resized to
    that first, bilinear with antialiasing.
    """

    #: Attacks on triplets embed what stays once, and not in every step.
    angle = True

    def __init__(
        self, network: nn.Module, embed: Callable[[Images], Tensor], side: int | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._embed = embed
        self.resize = None if side is None else Resize((side, side), "bilinear")

    def embed(self, images: Images) -> Tensor:
        """Unit vectors ``(n, k)``."""
        if self.resize is not None and min(images.shape[2:]) > self.resize.size[0]:
            images = self.resize(images)
        return direction(self._embed(images))

    def forward(self, reference: Images, candidate: Images) -> Tensor:
        return 1 - (self.embed(reference) * self.embed(candidate)).sum(1)


def weights_folder(setting: Setting) -> Path | None:
    """``weights`` in the data folder, where published files lie; ``None`` where it is not there."""
    folder = None if setting.data is None else setting.data / "weights"
    return folder if folder is not None and folder.is_dir() else None


def dreamsim_there(setting: Setting) -> Judge:
    """DreamSim where its weights are in the data folder, else SqueezeNet's features.

    Raises ``ValueError`` where DreamSim's package does not work, and
    :class:`~experiments.papers.item.MissingDataError` where SqueezeNet's weights are not there.
    """
    found = dreamsim_part(setting, "DreamSim", "dreamsim")
    if found is not None:
        return found
    network = squeezenet(weights_file(setting)).to(setting.device)
    here = f"{RIVAL} at {LOOKS_AT} x {LOOKS_AT}, without any bound"
    return Judge(
        RIVAL,
        "DreamSim",
        "squeezenet-features",
        PlainFeatures(network, network.embed, LOOKS_AT).eval().requires_grad_(False),
        stand=StandIn("DreamSim with its authors' weights", here),
    )


def dreamsim_part(setting: Setting, paper: str, name: str) -> Judge | None:
    """DreamSim or one of its parts, by its name in the catalog; ``None`` without its weights."""
    folder = weights_folder(setting)
    if folder is None or not (folder / "dreamsim").is_dir():
        return None
    files = sorted(path for path in (folder / "dreamsim").rglob("*") if path.is_file())
    try:
        metric = module_of(name, folder / "dreamsim", setting)
    except UnavailableError:
        if name == "dreamsim":
            raise
        return None  # the ensemble's weights do not have those of its parts, tuned one by one
    stand = weights_stand(setting, f"{paper} with DreamSim's published weights", files)
    words = f"{paper} is {name}, through DreamSim's package, with the weights in weights/dreamsim."
    return Judge(paper if stand is None else name, paper, name, metric, words, stand)


#: The files of the metrics that take published weights.
FILES_OF = {
    "lpips-alex": (lpips.heads_file("alex"), backbones.FILES["alex"]),
    "dists": (dists.FILE, backbones.FILES["vgg"]),
}


def catalog_judge(name: str, paper: str, setting: Setting) -> Judge | None:
    """A metric of the catalog, ``None`` where its published weights are not in DATA/weights.

    Raises ``ValueError`` where a file of their name is there and is something else.
    """
    card, folder = metric_card(name), weights_folder(setting)
    if card.checkpoint == "none" or card.checkpoint == "optional":
        return Judge(paper or name, paper, name, module_of(name, None, setting))
    if folder is None:
        return None
    try:
        metric = module_of(name, folder, setting)
    except UnavailableError:  # some other weights are there
        return None
    stand = published_stand(setting, f"{paper} with its weights", folder, FILES_OF.get(name, ()))
    title = paper if stand is None else name
    return Judge(title, paper, name, metric, f"{paper}: {name}, weights/.", stand)


def module_of(name: str, checkpoint: Path | None, setting: Setting) -> nn.Module:
    """A metric of the catalog."""
    return cast(nn.Module, create_metric(name, checkpoint=checkpoint, device=setting.device))
