"""The gate: attacks inside every certified radius, for every metric that can be certified."""

from importlib.resources import files

import pytest
import torch

from percert.images import Resize
from percert.lipschitz.architectures import (
    Architecture,
    LipSimSize,
    TinyShape,
    lipsim_network,
    tiny_network,
)
from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.certified.embedding import EmbeddingMetric

from .cases import Scene, cases
from .pixel_attacks import flips

#: thumbnail is thumbnail-8 by another name.
NAMES = [name for name, card in CATALOG.items() if card.embedding and name != "thumbnail"]
CASES = 23


def metric_of(name: str) -> EmbeddingMetric:
    """The metric of the catalog. Where that needs the authors' weights: the same layers, few."""
    if name in OTHERS:
        torch.manual_seed(0)
        shape = TinyShape(48, (1, 1, 1), 64, architecture=name)
        network = tiny_network(shape).eval().requires_grad_(False)
        return EmbeddingMetric(network, Resize((64, 64), "box"), name=name).double()
    if CATALOG[name].checkpoint == "required":
        depth = {"lipsim-small": 2, "lipsim-medium": 3, "lipsim-large": 4}[name]
        size = LipSimSize(depth, 8, 1, 16, embedding=96, side=64)
        network = lipsim_network(size).eval().requires_grad_(False)
        return EmbeddingMetric(network, Resize((64, 64), "bicubic"), constant=1.0, name=name)
    packed = (files("percert") / "weights" / f"{name}.safetensors").is_file()
    checkpoint = "random" if name == "lipsim-tiny" and not packed else None
    metric = create_metric(name, checkpoint, device="cpu")
    assert isinstance(metric, EmbeddingMetric)
    return metric


#: Networks of other layers that can be trained, beside what the catalog has.
OTHERS: tuple[Architecture, ...] = ("lipnext", "bronet")


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_no_decision_flips_inside_its_radius(name: str) -> None:
    metric = metric_of(name)
    linear = name.startswith("thumbnail")
    certified = 0
    found = list(cases(metric, Scene.of(4 if linear else 2)))
    assert len(found) == CASES
    for case in found:
        count = flips(case.margin, case.images, case.radius, steps=10 if linear else 4)
        assert count == 0, f"{name}: {case.name} flips {count} times inside its radius"
        certified += int((case.radius > 0).any())
    # A gate that certifies nothing has nothing to hold.
    assert certified == CASES


def test_the_resize_is_inside_the_certificates() -> None:
    """Images of 5 to 8 pixels, enlarged to 16: the norm of the resize is above 1."""
    metric = metric_of("thumbnail-16")
    scene = Scene.of(4, divisor=8)
    assert metric.bound((scene.reference.shape[2], scene.reference.shape[3])).value > 1
    for case in cases(metric, scene):
        assert flips(case.margin, case.images, case.radius, steps=10) == 0, case.name
