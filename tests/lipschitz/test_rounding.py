"""The bound of float error: above what is measured, layer by layer, and not by orders too much."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from percert.images import Resize
from percert.lipschitz.architectures import LipSimSize, TinyShape, lipsim_network, tiny_network
from percert.lipschitz.fixed_layers import (
    Abs,
    AddConstant,
    Flatten,
    FlipConcat,
    L2Pool,
    MaxMin,
    NormOnePool,
    SpaceToDepth,
    SubtractMean,
)
from percert.lipschitz.mirror import MirrorFold, MirrorHaar, MirrorLift, MirrorZeroPad
from percert.lipschitz.network import fold
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.reflector import ReflectorConv
from percert.lipschitz.rounding import Signal, has_rounding, rounding
from percert.lipschitz.sll import SLLConv, SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "mean": SubtractMean,
    "pool": lambda: NormOnePool(4),
    "haar": MirrorHaar,
    "mirror fold": MirrorFold,
    "mix": lambda: OrthogonalMix(16, 8),
    "mirror mix": lambda: OrthogonalMix(16, mirror=True),
    "manifold": lambda: OrthogonalMix(16, form="manifold"),
    "reflector": lambda: OrthogonalMix(16, 8, form="reflector"),
    "reflecting convolution": lambda: ReflectorConv(16, 8),
    "lengths": L2Pool,
    "convolution": lambda: SLLConv(16, 5),
    "dense": lambda: nn.Sequential(Flatten(), SLLDense(16 * 64, 32)),
    "added": lambda: nn.Sequential(Flatten(), AddConstant(3.0)),
    "flips": lambda: FlipConcat(nn.Sequential(OrthogonalMix(16), Flatten())),
    "moved": lambda: nn.Sequential(SpaceToDepth(2), MaxMin(), Abs(), Flatten()),
}
#: Images, and what makes rounding hard: nearly nothing, one value, one value in a million.
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "usual": lambda x: x,
    "dark": lambda x: 1e-4 * x,
    "flat": lambda x: torch.ones_like(x) + 1e-6 * x,
    "sparse": lambda x: x * (x > 2.5),
}


def layer_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[name]().eval().requires_grad_(False)
    for parameter in layer.parameters():
        # Biases of a length that decides the error of short inputs.
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=3.0)
    return layer


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_within_its_bound(name: str, kind: str) -> None:
    layer = layer_of(name)
    x = INPUTS[kind](torch.randn(8, 16, 8, 8))
    exact = as_exact(layer)
    error = (layer(x).double() - exact(x.double())).flatten(1).norm(dim=1).max().item()
    norm = x.double().flatten(1).norm(dim=1).max().item()
    bound = rounding(layer, Signal(norm, 0.0, 64), torch.float32)
    assert error <= bound.error
    assert exact(x.double()).flatten(1).norm(dim=1).max() <= bound.norm * (1 + 1e-12)
    if name not in ("moved", "flips") and kind == "usual":
        assert error >= 1e-5 * bound.error  # a bound, not a wild guess


def as_exact(layer: nn.Module) -> nn.Module:
    """The same effective weights, as they are held in float32, computed with in float64."""
    return fold(layer).double()


@pytest.mark.parametrize("name", ["mix", "reflecting convolution", "convolution", "dense"])
def test_an_error_of_the_input_passes_through(name: str) -> None:
    layer = layer_of(name)
    clean = rounding(layer, Signal(1.0, 0.0, 64), torch.float32)
    dirty = rounding(layer, Signal(1.0, 0.5, 64), torch.float32)
    assert 0.5 + clean.error <= dirty.error <= 0.5 + 2 * clean.error


def test_folded_layers_have_the_bound_of_their_layers() -> None:
    layer = nn.Sequential(OrthogonalMix(16), ReflectorConv(16, 8), SLLConv(16, 5)).eval()
    signal = Signal(1.0, 0.0, 64)
    plain, folded = (rounding(one, signal, torch.float32) for one in (layer, fold(layer)))
    assert folded == plain


@pytest.mark.parametrize(
    "metric",
    [
        lambda: EmbeddingMetric(
            tiny_network(TinyShape(width=48, depths=(1, 1, 1), embedding=64)).eval(),
            Resize((64, 64), "box"),
            name="tiny",
        ),
        lambda: EmbeddingMetric(
            lipsim_network(LipSimSize(2, 6, 2, 8, embedding=20, side=32)).eval(),
            Resize((32, 32), "bicubic"),
            constant=1.0,
            name="sll",
        ),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (150, 90)])
def test_whole_metrics_stay_within_their_bound(
    metric: Callable[[], EmbeddingMetric], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    single = metric().requires_grad_(False)
    exact = as_exact(single)
    bound = single.float_error(size)
    noise = torch.rand(4, 3, *size)
    for images in (noise, 0.01 * noise, torch.full_like(noise, 0.3), 1 - 0.001 * noise):
        error = (single.embed(images).double() - exact.embed(images.double())).norm(dim=1)
        assert error.max().item() <= bound
    double = single.double().float_error(size)
    assert bound * 2.0**-30 <= double <= bound * 2.0**-28  # the unit roundoff's share


def test_what_is_not_known_has_no_bound() -> None:
    network = nn.Sequential(OrthogonalMix(4), nn.ReLU())
    assert not has_rounding(network)
    with pytest.raises(ValueError, match="ReLU: no bound of its rounding is known"):
        rounding(network, Signal(1.0, 0.0, 1), torch.float32)
    assert has_rounding(nn.Sequential(MirrorLift(2), MirrorZeroPad(8), Shift(mirror=True)))
    assert not has_rounding(type("Subclass", (OrthogonalMix,), {})(4))


def test_half_precision_proves_nothing() -> None:
    assert math.isinf(rounding(OrthogonalMix(4), Signal(1.0, 0.0, 1), torch.bfloat16).error)
