"""Every linear layer's matrix, written down: what moves, keeps or drops values has norm 1."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from percert.lipschitz.fixed_layers import (
    Flatten,
    NormOnePool,
    SpaceToDepth,
    SubtractMean,
    Truncate,
    ZeroChannelPad,
)
from percert.lipschitz.mirror import MirrorLift, MirrorSpaceToDepth, MirrorZeroPad
from percert.lipschitz.operator_norms import operator_matrix, singular_values
from percert.lipschitz.orthogonal import OrthogonalMix, Shift

ISOMETRIES = [
    (SpaceToDepth(2), (3, 4, 6)),
    (SpaceToDepth(3), (2, 3, 6)),
    (Shift(), (9, 4, 5)),
    (Shift(), (13, 3, 3)),  # unequal groups of channels
    (Shift(), (4, 2, 2)),  # empty groups
    (Shift(mirror=True), (14, 3, 4)),
    (MirrorLift(2), (3, 4, 6)),
    (MirrorLift(4), (2, 4, 4)),
    (MirrorSpaceToDepth(2), (6, 4, 2)),
    (ZeroChannelPad(5), (3, 2, 3)),
    (MirrorZeroPad(10), (6, 2, 2)),
    (Flatten(), (3, 2, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), ISOMETRIES, ids=lambda v: str(v))
def test_isometry_moves_values_and_keeps_every_norm(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    matrix = operator_matrix(layer, shape)
    assert set(matrix.unique().tolist()) <= {0.0, 1.0}
    values = torch.linalg.svdvals(matrix)
    assert values.min() >= 1 - 1e-12
    assert values.max() <= layer.lipschitz_bound().value + 1e-12


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (NormOnePool(2), (2, 4, 6)),
        (NormOnePool(4), (1, 8, 4)),
        (SubtractMean(), (2, 3, 5)),
        (Truncate(3), (7,)),
        (Truncate(2), (4, 2, 2)),
    ],
    ids=lambda v: str(v),
)
def test_projections_have_norm_exactly_one(layer: nn.Module, shape: tuple[int, ...]) -> None:
    values = singular_values(layer, shape)
    kept = values[values > 1e-9]
    assert torch.allclose(kept, torch.ones_like(kept), atol=1e-12)
    assert len(kept) >= 1


@pytest.mark.parametrize("window", [2, 4])
def test_norm_one_pool_agrees_with_rescaled_average(window: int) -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    expected = nn.functional.avg_pool2d(x, window) * window
    assert torch.allclose(NormOnePool(window)(x), expected)


@pytest.mark.parametrize(
    ("pool", "norm"),
    [
        (nn.AvgPool2d(4, divisor_override=4), 1.0),
        (nn.AvgPool2d(3, stride=2, divisor_override=3), 1.65),
    ],
    ids=["disjoint", "overlapping"],
)
def test_the_pitfall_that_overlapping_windows_exceed_one(pool: nn.Module, norm: float) -> None:
    largest = singular_values(pool, (1, 16, 16)).max().item()
    assert largest == pytest.approx(norm, abs=0.05)
    if norm > 1:
        assert largest > 1.5


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("channels", "out"), [(6, 6), (10, 4), (32, 32)])
def test_orthogonal_mix_is_orthogonal_on_wild_weights_and_after_training(
    channels: int, out: int, mirror: bool
) -> None:
    torch.manual_seed(channels + out)
    layer = OrthogonalMix(channels, out, mirror=mirror)
    with torch.no_grad():
        layer.square.mul_(7)
        layer.bias.normal_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(5):
        loss = (layer(torch.randn(8, channels)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    layer.eval()
    matrix, _ = layer.matrix()
    values = torch.linalg.svdvals(matrix.detach().double())
    assert values.max() <= layer.lipschitz_bound().value
    assert values.min() >= 1 - 1e-5
    on_image = singular_values(layer.double(), (channels, 2, 3))
    assert on_image.max() <= 1
    assert on_image.min() >= 1 - 1e-5
    assert len(on_image) == out * 6


def test_orthogonal_mix_in_training_mode_gives_the_same_function() -> None:
    torch.manual_seed(0)
    layer, x = OrthogonalMix(12), torch.randn(3, 12, 4, 4)
    assert torch.allclose(layer.train()(x), layer.eval()(x), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (SpaceToDepth(2), (1, 3, 5, 4), "multiples of 2"),
        (NormOnePool(4), (1, 3, 8, 6), "multiples of 4"),
        (ZeroChannelPad(2), (1, 3, 4, 4), "at most 2"),
        (Truncate(9), (1, 3), "at least 9"),
        (MirrorZeroPad(7), (1, 6, 2, 2), "equal halves"),
        (MirrorSpaceToDepth(2), (1, 3, 2, 2), "even number"),
        (Shift(mirror=True), (1, 3, 2, 2), "even number"),
    ],
    ids=lambda v: str(v),
)
def test_what_does_not_fit_is_an_error(
    layer: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(shape))


@pytest.mark.parametrize(
    "make",
    [lambda: OrthogonalMix(4, 5), lambda: OrthogonalMix(5, mirror=True), lambda: MirrorLift(3)],
)
def test_settings_that_do_not_fit_are_an_error(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"expected|needs"):
        make()


def test_operator_matrix_refuses_what_does_not_fit_in_memory() -> None:
    with pytest.raises(ValueError, match="smaller image"):
        operator_matrix(Flatten(), (3, 224, 224))


def test_space_to_depth_keeps_a_whole_image() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert math.isclose(SpaceToDepth(4)(x).norm().item(), x.norm().item(), rel_tol=1e-6)
    assert torch.equal(nn.functional.pixel_shuffle(SpaceToDepth(4)(x), 4), x)
