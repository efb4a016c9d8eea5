"""Layers with kinks: Jacobian norms and slopes of pairs at random points, in float64."""

import pytest
import torch
from torch import Tensor, nn

from percert.lipschitz.fixed_layers import Abs, Flatten, FlipConcat, L2Pool, MaxMin
from percert.lipschitz.mirror import MirrorFold, MirrorLift, MirrorSpaceToDepth, MirrorZeroPad
from percert.lipschitz.operator_norms import jacobian
from percert.lipschitz.orthogonal import OrthogonalMix, Shift

KEEP_GRADIENTS = [
    (MaxMin(), (8,)),
    (MaxMin(), (4, 2, 3)),
    (Abs(), (5,)),
    (MirrorFold(), (4, 2, 3)),
    (L2Pool(), (4, 2, 3)),
    (FlipConcat(Flatten()), (2, 3, 3)),
    (FlipConcat(Flatten()), (1, 2, 4)),
]


def slopes(layer: nn.Module, shape: tuple[int, ...], distance: float) -> Tensor:
    """|f(x) - f(y)| / |x - y| of 200 random pairs about ``distance`` apart."""
    x = torch.randn(200, *shape, dtype=torch.float64)
    y = x + distance * torch.randn_like(x)
    with torch.no_grad():
        moved = (layer(x) - layer(y)).flatten(1).norm(dim=1)
    return moved / (x - y).flatten(1).norm(dim=1)


@pytest.mark.parametrize(("layer", "shape"), KEEP_GRADIENTS, ids=lambda v: str(v))
def test_jacobians_are_isometries_and_slopes_at_most_one(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    for _ in range(5):
        values = torch.linalg.svdvals(jacobian(layer, torch.randn(shape, dtype=torch.float64)))
        assert values.max() <= 1 + 1e-12
        assert values.min() >= 1 - 1e-12
    for distance in (1e-3, 1.0, 30.0):
        assert slopes(layer, shape, distance).max() <= layer.lipschitz_bound().value + 1e-12


def test_lengths_of_channels_keep_the_length_and_have_a_gradient_at_zero() -> None:
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    assert torch.allclose(L2Pool()(x).flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
    assert torch.allclose(L2Pool()(x)[1, 3, 0, 0], x[1, 3].square().sum().sqrt())
    nothing = torch.zeros(1, 2, 3, 3, requires_grad=True)
    L2Pool()(nothing).sum().backward()
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_maxmin_sorts_pairs_and_refuses_odd_channels() -> None:
    x = torch.randn(3, 6, 2, 2)
    sorted_pairs = MaxMin()(x)
    assert bool((sorted_pairs[:, 0::2] >= sorted_pairs[:, 1::2]).all())
    assert torch.equal(sorted_pairs.sort(1).values, x.sort(1).values)
    with pytest.raises(ValueError, match="even number of channels, found 3"):
        MaxMin()(torch.zeros(1, 3))


def test_flip_concat_of_a_2_lipschitz_network_is_2_lipschitz() -> None:
    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x.flatten(1)

        def lipschitz_bound(self) -> object:
            from percert.lipschitz.bound import LipschitzBound

            return LipschitzBound(2.0, "doubled")

    assert FlipConcat(Double()).lipschitz_bound().value == 2.0


def mirrored(features: Tensor) -> Tensor:
    """What mirroring the image does to features in two halves: exchange and mirror them."""
    first, second = features.chunk(2, 1)
    return torch.cat((second, first), 1).flip(-1)


@pytest.mark.parametrize(
    "layer",
    [
        MirrorSpaceToDepth(2),
        MirrorZeroPad(30),
        Shift(mirror=True),
        OrthogonalMix(24, 20, mirror=True),
        Abs(),
        MaxMin(),
    ],
    ids=lambda layer: str(type(layer).__name__),
)
def test_mirror_layers_are_equivariant(layer: nn.Module) -> None:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    layer = layer.eval().double()
    x = torch.randn(2, 24, 4, 6, dtype=torch.float64)
    assert torch.allclose(layer(mirrored(x)), mirrored(layer(x)), atol=1e-12)


def test_a_mirror_network_gives_a_mirrored_image_the_same_embedding() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(
        MirrorLift(2),
        MirrorZeroPad(20),
        Shift(mirror=True),
        OrthogonalMix(20, mirror=True),
        MaxMin(),
        MirrorSpaceToDepth(2),
        OrthogonalMix(80, 40, mirror=True),
        Abs(),
        MirrorFold(),
    ).eval()
    x = torch.rand(2, 3, 8, 12)
    embedding = network(x)
    assert torch.allclose(network(x.flip(-1)), embedding, atol=1e-5)
    assert not torch.allclose(network(x.flip(-2)), embedding, atol=1e-2)


def test_shift_without_mirror_is_not_equivariant() -> None:
    x = torch.randn(1, 18, 4, 4)
    assert not torch.allclose(Shift()(mirrored(x)), mirrored(Shift()(x)))
