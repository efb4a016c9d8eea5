"""The embedded default's network: 1-Lipschitz as a whole, blind to mirroring, kept norms."""

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from percert.lipschitz.architectures import Architecture, TinyShape, tiny_network
from percert.lipschitz.fixed_layers import HalfAbs
from percert.lipschitz.mirror import MirrorHaar, MirrorSpaceToDepth
from percert.lipschitz.orthogonal import cayley

SMALL = TinyShape(width=48, depths=(1, 1, 1), embedding=64, inner=32)


SMALLEST = [replace(SMALL, architecture=name) for name in get_args(Architecture)]


@pytest.mark.parametrize("shape", SMALLEST, ids=lambda shape: str(shape.architecture))
def test_jacobian_norm_is_at_most_one(shape: TinyShape) -> None:
    network = tiny_network(shape).double().eval().requires_grad_(False)
    for parameter in network.parameters():  # far from the gentle start
        parameter.normal_()
    for seed in range(3):
        image = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=_generator(seed))
        jacobian = torch.autograd.functional.jacobian(network, image, vectorize=True)
        norm = torch.linalg.matrix_norm(jacobian.reshape(64, -1), 2)
        assert 0.1 < norm <= 1 + 1e-10


@pytest.mark.parametrize("shape", SMALLEST, ids=lambda shape: str(shape.architecture))
def test_mirrored_images_have_the_same_embedding(shape: TinyShape) -> None:
    network = tiny_network(shape).eval()
    images = torch.rand(3, 3, 64, 64)
    first, second = network(images), network(images.flip(-1))
    assert (first - second).norm() <= 1e-5 * first.norm()
    assert (network(images.flip(-2)) - first).norm() > 1e-2 * first.norm()


def test_it_starts_as_a_thumbnail_that_keeps_low_frequencies() -> None:
    network = tiny_network(TinyShape(dense=0)).eval()
    coarse = torch.rand(4, 3, 2, 2)
    images = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear")
    signal = (images - images.mean((2, 3), keepdim=True)).flatten(1).norm(dim=1)
    assert (network(images).norm(dim=1) > 0.6 * signal).all()


def test_haar_is_a_rotation_of_space_to_depth_and_half_abs_of_nothing_else() -> None:
    images = torch.rand(2, 4, 6, 8)
    assert torch.allclose(MirrorHaar()(images).norm(), MirrorSpaceToDepth(2)(images).norm())
    flat = torch.ones(1, 2, 4, 4)
    assert MirrorHaar()(flat).abs().sum((0, 2, 3)).tolist() == [8, 0, 0, 0, 8, 0, 0, 0]
    assert HalfAbs()(-torch.ones(1, 8)).tolist() == [[-1, -1, 1, 1, -1, -1, 1, 1]]


def test_haar_is_the_average_and_the_steps_across_down_and_both_ways() -> None:
    window = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).expand(1, 2, 2, 2)
    first, mirrored = MirrorHaar()(window).flatten().chunk(2)
    assert first.tolist() == [7.5, -2.5, -4.5, 1.5]
    assert mirrored.tolist() == [7.5, 2.5, -4.5, -1.5]  # it sees its pixels mirrored


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 40},
        {"width": 100},
        {"embedding": 100},
        {"embedding": 6160},
        {"embedding": 1552, "architecture": "lipnext"},
        {"architecture": "resnet"},
    ],
)
def test_impossible_shapes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"TinyShape: expected|architecture: expected one of"):
        TinyShape(**settings)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cayleys_gradient_is_that_of_the_inverse() -> None:
    square = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    identity = torch.eye(5, dtype=torch.float64)
    skew = square - square.T
    assert torch.allclose(cayley(square), torch.linalg.solve(identity + skew, identity - skew))
    assert torch.autograd.gradcheck(cayley, square)
    assert torch.autograd.gradgradcheck(cayley, square)


def test_every_depth_more_sees_twice_the_side() -> None:
    network = tiny_network(TinyShape(width=48, depths=(1, 1, 1, 1), embedding=64, inner=16)).eval()
    assert network.resolution == (128, 128)
    images = torch.rand(3, 3, 128, 128)
    assert network(images).shape == (3, 64)
    assert torch.allclose(network(images), network(images.flip(-1)), atol=1e-5)
    assert network.lipschitz_bound().value <= 1
    moved = images + 0.01 * torch.randn_like(images)
    ratio = (network(moved) - network(images)).norm(dim=1) / (moved - images).flatten(1).norm(dim=1)
    assert float(ratio.max()) <= 1
