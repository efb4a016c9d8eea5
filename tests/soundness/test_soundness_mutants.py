"""The gate must be able to fail: wrong radii and broken layers, found by the same attacks."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from percert.certify import OwnThreshold, copies_of_features, likeness
from percert.certify.features import embed
from percert.certify.pairs import pair_distance
from percert.images import Resize
from percert.lipschitz.architectures import Architecture, TinyShape, tiny_network
from percert.lipschitz.sll import SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail

from .cases import Case, Scene, cases, own_copies
from .pixel_attacks import flips


def found(metric: EmbeddingMetric, scene: Scene, *names: str, steps: int = 10) -> int:
    """How many decisions flip in the cases ``names``."""
    chosen = [case for case in cases(metric, scene) if case.name in names]
    assert len(chosen) == len(names)
    return sum(flips(case.margin, case.images, case.radius, steps=steps) for case in chosen)


def scaled(layer: nn.Module, factor: float) -> None:
    """Breaks a layer: its output grows, its bound does not."""
    layer.register_forward_hook(lambda module, inputs, output: factor * output)


def test_radii_that_are_half_too_large_flip_in_every_certificate() -> None:
    """The thumbnail is linear and its bound exact, so every exact certificate must give way."""
    for case in cases(Thumbnail(8), Scene.of(3)):
        # The first k places hold further than proven: k rivals must overtake at once.
        if case.name == "nearest, first 2":
            continue
        wrong: Case = dataclasses.replace(case, radius=1.5 * case.radius)
        assert flips(wrong.margin, wrong.images, wrong.radius, steps=12) > 0, case.name


def test_a_threshold_that_the_query_can_move_is_found() -> None:
    """The rule stands because the threshold is the stored image's: one of the query's moves."""
    metric, scene = Thumbnail(8), Scene.of(3)

    def flipped(threshold_of: str) -> int:
        found = [c for c in own_copies(metric, scene, threshold_of) if c.name.endswith("query")]
        assert len(found) == 2
        return sum(flips(case.margin, case.images, case.radius, steps=12) for case in found)

    assert flipped("stored") == 0
    assert flipped("query") > 0


def test_a_stored_image_that_leaves_its_threshold_behind_is_found() -> None:
    """Where the stored image moves its threshold does, which one threshold for all does not."""
    metric, scene = Thumbnail(8), Scene.of(3)
    query, stored = embed(metric, scene.reference), embed(metric, scene.copy)
    b = likeness(stored, embed(metric, scene.other.flip(-2)).directions)
    (case,) = [case for case in own_copies(metric, scene) if case.name == "own copies, stored"]
    level = float((1.5 * pair_distance(query, stored) + 0.5 * b).max())
    thresholds = OwnThreshold(level, 0.5).distances(b)
    left_behind = copies_of_features(query, stored, thresholds, perturbed="candidate").radius
    assert flips(case.margin, case.images, case.radius, steps=12) == 0
    assert flips(case.margin, case.images, left_behind, steps=12) > 0


@pytest.mark.parametrize("factor", [1.05, 3.0])
def test_a_scaled_layer_is_found(factor: float) -> None:
    metric = Thumbnail(8)
    scaled(metric.network.layers[0], factor)
    assert found(metric, Scene.of(3), "twoafc reference", "copies, reference") > 0


class _WithoutNorm:
    """A resize that says that its norm is 1."""

    size = (16, 16)
    mode = "box"

    def __call__(self, images: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        return Resize(self.size, "box")(images, dtype=dtype)

    def norm(self, resolution: tuple[int, int]) -> float:
        return 1.0


def test_a_resize_whose_norm_is_left_out_is_found() -> None:
    sound = Thumbnail(16)
    scene = Scene.of(3, divisor=8)
    names = ("twoafc reference", "copies, candidate")
    assert found(sound, scene, *names) == 0
    broken = EmbeddingMetric(sound.network, _WithoutNorm(), name="broken").double()
    assert found(broken, scene, *names) > 0


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("orthogonal", "OrthogonalMix"),
        ("orthogonal", "SLLDense"),
        ("lipnext", "OrthogonalMix"),
        ("lipnext", "L2Pool"),
        ("bronet", "ReflectorConv"),
    ],
)
def test_a_scaled_layer_of_a_network_is_found(architecture: Architecture, kind: str) -> None:
    network = tiny_network(TinyShape(48, (1, 1, 1), 64, architecture=architecture))
    network.double().eval().requires_grad_(False)
    metric = EmbeddingMetric(network, Resize((64, 64), "box"), name="tiny")
    names = ("twoafc reference", "copies, candidate")
    assert found(metric, Scene.of(2), *names, steps=6) == 0
    layer = next(layer for layer in network.layers if type(layer).__name__ == kind)
    scaled(layer, 3.0)
    assert found(metric, Scene.of(2), *names, steps=6) > 0


def test_an_sll_that_forgets_the_absolute_value_is_found() -> None:
    """The published variant of Eq. 12: T from W^T W without its absolute value."""

    class Forgetful(SLLDense):
        def scale(self) -> Tensor:
            gram = self.weight @ self.weight.T
            return 2 / gram.sum(dim=1).clamp_min(1e-3)

    class Network(nn.Module):
        resolution = (8, 8)

        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images: Tensor) -> Tensor:
            h: Tensor = self.layer(images.flatten(1) - images.flatten(1).mean(1, keepdim=True))
            return h

        def lipschitz_bound(self):  # type: ignore[no-untyped-def]  # the layer's own
            return self.layer.lipschitz_bound()

    names = ("twoafc reference", "copies, candidate")
    for layer, sound in ((SLLDense, True), (Forgetful, False)):
        torch.manual_seed(0)
        network = Network(layer(192, 64)).eval().requires_grad_(False)
        metric = EmbeddingMetric(network, Resize((8, 8), "box"), name=layer.__name__)
        flipped = found(metric, Scene.of(3), *names)
        assert (flipped == 0) is sound
