"""Orthogonal matrices trained on their manifold and block reflectors, against what defines them."""

import pytest
import torch
from torch import Tensor, nn

from percert.lipschitz.operator_norms import singular_values
from percert.lipschitz.orthogonal import (
    FORMS,
    RIDGE,
    Form,
    OrthogonalMix,
    polar,
    reflector,
    retract,
)
from percert.lipschitz.reflector import ReflectorConv, transform


def wild(layer: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and frame far from where it starts, computed in float64."""
    torch.manual_seed(seed)
    layer = layer.double().eval().requires_grad_(False)
    for value in (*layer.parameters(), *layer.buffers()):
        value.normal_()
    return layer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("channels", "out"), [(6, 6), (10, 4)])
def test_whatever_is_held_keeps_lengths(channels: int, out: int, mirror: bool, form: Form) -> None:
    layer = wild(OrthogonalMix(channels, out, mirror=mirror, form=form))
    values = singular_values(layer, (channels, 2, 3))
    assert values.max() <= 1 + 1e-10
    assert values.min() >= 1 - 1e-3
    assert len(values) == out * 6


@pytest.mark.parametrize("side", [4, 5, 6])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_reflecting_convolution_keeps_lengths(side: int, mirror: bool) -> None:
    for seed in range(3):
        layer = wild(ReflectorConv(8, side, mirror=mirror), seed)
        values = singular_values(layer, (8, side, side))
        assert values.max() <= 1 + 1e-10
        assert values.min() >= 1 - 1e-3


@pytest.mark.parametrize("how", ["zeros", "equal columns", "one in 1e9"])
def test_vectors_that_span_less_are_no_matter(how: str) -> None:
    layer = wild(ReflectorConv(8, 4))
    mix = wild(OrthogonalMix(8, form="reflector"))
    for weight in (layer.weight, mix.vectors[0].T):
        if how == "zeros":
            weight.zero_()
        elif how == "equal columns":
            weight[:] = weight[:1].clone()
        else:
            weight[1:] *= 1e-9
    for one in (layer, mix):
        values = singular_values(one, (8, 4, 4))
        assert values.max() <= 1 + 1e-10
        if how == "zeros":
            assert torch.allclose(values, torch.ones_like(values), atol=1e-5)


@pytest.mark.parametrize("side", [5, 6])
def test_the_convolution_is_the_block_reflector_of_every_frequency(side: int) -> None:
    """The definition, in complex numbers: I - 2 V (V* V + e I)^-1 V* at each of torch's."""
    layer = wild(ReflectorConv(6, side))
    layer.bias.zero_()
    kernel = torch.zeros(*layer.weight.shape[:2], side, side, dtype=torch.float64)
    kernel[..., :3, :3] = layer.weight
    # A correlation's tap at d adds what lies at d: the transform's conjugate.
    v = torch.fft.fft2(kernel.roll((-1, -1), (2, 3))).permute(2, 3, 1, 0)
    gram = v.mH @ v
    mean = gram.diagonal(dim1=-2, dim2=-1).real.mean(-1)[..., None, None]
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
    w = torch.eye(6) - 2 * v @ torch.linalg.inv(gram + RIDGE * mean * identity) @ v.mH
    x = torch.randn(2, 6, side, side, dtype=torch.float64)
    expected = torch.fft.ifft2(torch.einsum("hwoi,nihw->nohw", w, torch.fft.fft2(x + 0j))).real
    assert torch.allclose(layer(x), expected, atol=1e-4)
    assert (layer(x) - x).norm() > 0.1 * x.norm()


@pytest.mark.parametrize("side", [4, 5])
def test_the_transform_is_torchs(side: int) -> None:
    rows, columns = transform(side)
    x = torch.randn(side, side, dtype=torch.float64)
    parts = torch.unflatten(x @ rows, 1, (2, -1)).permute(2, 1, 0).flatten(1)
    real, imaginary = torch.unflatten(parts @ columns, 1, (2, side)).unbind(1)
    expected = torch.fft.rfft2(x, norm="ortho").T
    weight = torch.full((side // 2 + 1, 1), 2.0**0.5, dtype=torch.float64)
    weight[[0] if side % 2 else [0, -1]] = 1
    assert torch.allclose(real, expected.real * weight)
    assert torch.allclose(imaginary, expected.imag * weight)


def test_mirrored_reflections_commute_with_mirroring() -> None:
    layer = wild(ReflectorConv(8, 6, mirror=True))
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)

    def mirrored(y: Tensor) -> Tensor:
        return y.roll(4, 1).flip(-1)

    assert torch.allclose(layer(mirrored(x)), mirrored(layer(x)))
    plain = wild(ReflectorConv(8, 6))
    assert not torch.allclose(plain(mirrored(x)), mirrored(plain(x)), atol=0.1)


def test_steps_stay_on_the_manifold_and_go_downhill() -> None:
    """To a rotation that is known, from the identity: 300 steps, and the frame never leaves."""
    torch.manual_seed(0)
    layer, target = OrthogonalMix(12, form="manifold", spread=0.0), polar(torch.randn(12, 12))
    if torch.linalg.det(target) < 0:  # a rotation cannot become a reflection
        target[0] *= -1
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(300):
        x = torch.randn(32, 12)
        loss = (layer(x) - x @ target.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        retract(layer)
        losses.append(loss.item())
        assert not layer.turn.any()
        assert torch.allclose(layer.frame[0] @ layer.frame[0].T, torch.eye(12), atol=1e-5)
    assert losses[-1] < 1e-3 * losses[0]


def test_a_turn_is_where_the_geodesic_leads_and_its_gradient_is_that_slope() -> None:
    torch.manual_seed(0)
    layer = OrthogonalMix(5, form="manifold").double()
    direction = torch.randn(1, 5, 5, dtype=torch.float64)
    x, y = torch.randn(2, 3, 5, dtype=torch.float64)

    def loss(step: float) -> Tensor:
        moved = OrthogonalMix(5, form="manifold").double().eval()
        moved.load_state_dict(layer.state_dict())
        moved.turn.data.copy_(step * direction)
        there: Tensor = (moved(x) * y).sum()
        retract(moved)
        assert torch.allclose((moved(x) * y).sum(), there, atol=1e-4 * abs(step) ** 2 + 1e-9)
        return there

    (layer.train()(x) * y).sum().backward()
    assert layer.turn.grad is not None
    slope = (layer.turn.grad * direction).sum()
    measured = (loss(1e-4) - loss(-1e-4)) / 2e-4
    assert float(slope) == pytest.approx(float(measured), rel=1e-4)
    loss(1.0)


def test_gradients_towards_a_turn_exist_in_evaluation() -> None:
    layer = OrthogonalMix(6, form="manifold").eval()
    layer(torch.randn(2, 6)).square().sum().backward()
    assert layer.turn.grad is not None
    assert bool(layer.turn.grad.isfinite().all())


def test_a_frame_that_is_edited_is_computed_with() -> None:
    layer = OrthogonalMix(4, form="manifold").eval().requires_grad_(False)
    x = torch.randn(2, 4)
    before = layer(x)
    layer.frame.copy_(-layer.frame)
    assert torch.allclose(layer(x), -before, atol=1e-6)


def test_a_reflector_turns_its_vectors_round_and_leaves_what_is_across() -> None:
    v = torch.randn(7, 2, dtype=torch.float64)
    across = torch.linalg.qr(v, mode="complete").Q[:, 2:]
    w = reflector(v)
    assert torch.allclose(w @ v, -v, rtol=1e-3, atol=1e-3)
    assert torch.allclose(w @ across, across)


@pytest.mark.parametrize("mirror", [False, True])
def test_training_and_evaluation_give_the_same_function(mirror: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 12, 6, 6)
    layers: list[nn.Module] = [OrthogonalMix(12, mirror=mirror, form=form) for form in FORMS]
    for layer in (*layers, ReflectorConv(12, 6, mirror=mirror)):
        assert torch.allclose(layer.train()(x), layer.eval()(x), atol=2e-5)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected \(n, 8, 6, 6\), found"):
        ReflectorConv(8, 6)(torch.zeros(1, 8, 6, 5))
    for make in (
        lambda: ReflectorConv(8, 6, kernel_size=2),
        lambda: ReflectorConv(8, 2),
        lambda: ReflectorConv(7, 4, mirror=True),
        lambda: OrthogonalMix(4, form="qr"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"expected|needs"):
            make()
