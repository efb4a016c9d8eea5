"""Figures 3b, 6 and 7 of LipSim: how far attacks move a distance from 0, on photographs."""

import numpy as np
import torch
from torch import Tensor, nn

from percert.attacks import MoveEmbedding
from percert.attacks.pgd import ProjectedGradient
from percert.certify import distance as certified_distance
from percert.images import Resize, load_image, round_to_8bit
from percert.metrics.catalog import create_metric
from percert.metrics.embedding import direction
from percert.models.squeezenet import squeezenet
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Figure
from percert.reproduce.item import Compared, Findings, Setting, weights_file
from percert.reproduce.photographs import photographs
from percert.tensors import Images

SIDE = 224
STEPS = 20
OURS, RIVAL = "lipsim-tiny", "SqueezeNet's features"
_WHOSE = (
    f"{OURS} stands for the authors' LipSim and {RIVAL} for DreamSim: their weights are not here, "
    "and d of different networks has different scales.",
    f"A few photographs of the ImageNet-Compatible set at {SIDE} x {SIDE}, 500 of ImageNet in the "
    f"paper; PGD of {STEPS} steps from a random start, on floats.",
)


class PlainFeatures(nn.Module):
    """SqueezeNet's features of unit length, compared by their cosine, without any bound."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def embed(self, images: Images) -> Tensor:
        """Unit vectors ``(n, k)``."""
        features: Tensor = direction(self.network.embed(images))  # type: ignore[operator]  # torch types attributes as modules
        return features

    def forward(self, reference: Images, candidate: Images) -> Tensor:
        return 1 - (self.embed(reference) * self.embed(candidate)).sum(1)


def figure_3b(setting: Setting) -> Findings:
    """l2-PGD at 1.0, maximising the squared distance of embeddings (Eq. 14)."""
    return _distribution(setting, 1.0, {RIVAL: 0.6})


def figure_6(setting: Setting) -> Findings:
    """The same at 3.0."""
    return _distribution(setting, 3.0, {})


def figure_7(setting: Setting) -> Findings:
    """At 0.5: is the distance moved by more than the budget, against Proposition 1?"""
    moved, images = _moved(setting, 0.5)
    metric = create_metric(OURS, device=setting.device)
    proven = certified_distance(metric, images, images, 0.5).upper
    rows = [
        Compared(f"{name}: share of photographs with d(x, x + delta) > 0.5", None, share, "%")
        for name, share in ((n, 100 * float(np.mean(v > 0.5))) for n, v in moved.items())
    ]
    rows += [
        Compared(f"{name}: largest d(x, x + delta)", None, float(values.max()))
        for name, values in moved.items()
    ]
    rows.append(Compared(f"{OURS}: largest d that is possible, proven", None, float(proven.max())))
    words = "The paper shows pictures whose DreamSim distance exceeds 0.5, and counts none."
    return Findings(tuple(rows), (words, *_WHOSE))


def _distribution(setting: Setting, eps: float, printed: dict[str, float]) -> Findings:
    moved, images = _moved(setting, eps)
    metric = create_metric(OURS, device=setting.device)
    proven = certified_distance(metric, images, images, eps).upper
    rows = [
        Compared(f"{name}: mean d(x, x + delta)", printed.get(name), float(values.mean()))
        for name, values in moved.items()
    ]
    rows.append(
        Compared(f"{OURS}: mean of the largest d possible, proven", None, float(proven.mean()))
    )
    figure = Figure(
        boxes_and_cumulative(
            moved,
            {name: len(values) for name, values in moved.items()},
            value_label="d(x, x + delta)",
        ),
        f"Distances that l2-PGD of length {eps:g} reaches from 0.",
        f"Distributions of d(x, x + delta) for {OURS} and {RIVAL}",
    )
    words = (
        "The paper's 0.6 is DreamSim's mean, read off its text; of LipSim it says that values are "
        "close to 0."
    )
    return Findings(tuple(rows), (*((words,) if printed else ()), *_WHOSE), (figure,))


def _moved(setting: Setting, eps: float) -> tuple[dict[str, np.ndarray], Images]:
    """d of each photograph and its attacked version, by network, and the photographs."""
    resize = Resize((SIDE, SIDE), "bilinear")
    pictures = [load_image(item.source)[None] for item in photographs(setting)]
    images = torch.cat([round_to_8bit(resize(picture).clamp(0, 1)) for picture in pictures])
    images = images.to(setting.device)
    networks: dict[str, nn.Module] = {
        OURS: create_metric(OURS, device=setting.device),  # type: ignore[dict-item]  # it is a module
        RIVAL: PlainFeatures(squeezenet(weights_file(setting)).to(setting.device)),
    }
    attack = ProjectedGradient(norm="l2", eps=eps, steps=STEPS)
    seeds = torch.arange(len(images)) + setting.seed
    found = {}
    for name, network in networks.items():
        attacked = attack(network, images, MoveEmbedding(images), seeds=seeds)
        with torch.no_grad():
            found[name] = network(images, attacked).double().cpu().numpy()
    return found, images
