"""SLL layers: their Jacobian's worst case, wild weights, sizes, the published pitfalls."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.operator_norms import jacobian, operator_matrix
from percert.lipschitz.sll import SLLConv, SLLDense

LAYERS = [
    (lambda: SLLDense(6, 6), (6,)),
    (lambda: SLLDense(5, 12), (5,)),
    (lambda: SLLDense(9, 3), (9,)),
    (lambda: SLLConv(2, 3), (2, 4, 5)),
    (lambda: SLLConv(3, 2, 5), (3, 5, 5)),
    (lambda: SLLConv(4, 6, 1), (4, 2, 2)),
    (lambda: SLLConv(2, 4), (2, 1, 7)),  # an image lower than the kernel
]


def wild(layer: nn.Module, seed: int) -> nn.Module:
    """Weights that no training would give: rows of very unequal sizes, q over five decades."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=2)
        layer.weight[0] *= 30
        layer.weight[-1] *= 1e-3
        layer.log_q.normal_(std=3)
    return layer.double().eval().requires_grad_(False)


def worst_case(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """The largest Jacobian norm over all activation patterns, exactly.

    J = I - A D A^T, D any 0/1 pattern, so A A^T bounds A D A^T: the extremes are all off (norm 1)
    and all on.
    """

    def all_on(x: Tensor) -> Tensor:
        if isinstance(layer, SLLDense):
            return x - (F.linear(x, layer.weight) * layer.scale()) @ layer.weight
        hidden = F.conv2d(x, layer.weight, padding=layer.padding) * layer.scale()[:, None, None]
        return x - F.conv_transpose2d(hidden, layer.weight, padding=layer.padding)

    return max(1.0, torch.linalg.svdvals(operator_matrix(all_on, shape)).max().item())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_no_weights_break_the_bound(
    make: Callable[[], nn.Module], shape: tuple[int, ...], seed: int
) -> None:
    layer = wild(make(), seed)
    assert worst_case(layer, shape) <= layer.lipschitz_bound().value + 1e-9
    for _ in range(3):
        norm = torch.linalg.svdvals(
            jacobian(layer, 3 * torch.randn(shape, dtype=torch.float64))
        ).max()
        assert norm <= 1 + 1e-9
    x = torch.randn(100, *shape, dtype=torch.float64)
    y = x + torch.randn_like(x)
    slope = (layer(x) - layer(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert slope.max() <= 1 + 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [200.0, 1e4, 1e30])
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_no_q_is_too_extreme(
    make: Callable[[], nn.Module], shape: tuple[int, ...], spread: float, dtype: torch.dtype
) -> None:
    """exp(log q) and its ratios overflow and underflow far below these."""
    layer = wild(make(), 0).to(dtype)
    layer.log_q.copy_(spread * torch.linspace(-1, 1, len(layer.log_q)))
    layer.bias.zero_()  # a long one costs float32 more digits than the slope may
    norm = worst_case(layer.double(), shape)
    assert norm <= 1 + 1e-9
    layer.to(dtype)
    x = torch.randn(100, *shape, dtype=dtype)
    y = x + torch.randn_like(x)
    rise = (layer(x) - layer(y)).flatten(1).norm(dim=1)
    assert (rise <= (x - y).flatten(1).norm(dim=1) * (1 + 1e-5)).all()
    # Only ratios of q count.
    layer.log_q.copy_(torch.linspace(-1, 1, len(layer.log_q)))
    expected = layer(x)
    layer.log_q.add_(1e4 if dtype == torch.float64 else 100)
    assert torch.allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_q_may_weigh_the_last_digit_as_it_likes() -> None:
    """Rows that are orthogonal in float64, and not quite in the numbers that they are."""
    layer = SLLDense(3, 2).double().eval().requires_grad_(False)
    a = 1 / 3
    layer.weight.copy_(torch.tensor([[1.0, a, 0.0], [-a, 1.0, 0.0]]))
    layer.weight[1, 0].nextafter_(torch.tensor(-1.0, dtype=torch.float64))
    layer.log_q.copy_(torch.tensor([0.0, 60.0]))
    first, second = ([Fraction(v) for v in row] for row in layer.weight.tolist())
    product = abs(sum(x * y for x, y in zip(first, second, strict=True)))
    q = Fraction(math.exp(60))
    least = [sum(v * v for v in first) + product * q, sum(v * v for v in second) + product / q]
    for t, scale in zip(least, layer.scale().tolist(), strict=True):
        assert Fraction(scale) * t <= 2


def test_conv_is_equation_12_of_its_own_matrix() -> None:
    """Written with the convolution's dense matrix W^T, by the paper's formula, borders included."""
    layer, shape = wild(SLLConv(2, 3), 0), (2, 4, 5)
    w_t = operator_matrix(lambda x: F.conv2d(x, layer.weight, padding=1), shape)
    t = 2 / layer.scale().repeat_interleave(20)
    b = layer.bias.repeat_interleave(20)
    x = torch.randn(40, dtype=torch.float64)
    expected = x - 2 * w_t.T @ ((w_t @ x + b).relu() / t)
    assert torch.allclose(layer(x.reshape(1, *shape)).flatten(), expected)
    # t from the whole matrix: at every pixel at most the one used, equal away from the border.
    q = layer.log_q.exp().repeat_interleave(20)
    exact_t = (w_t @ w_t.T).abs() @ q / q
    assert bool((exact_t <= t * (1 + 1e-9)).all())


@pytest.mark.parametrize(("make", "shape"), [LAYERS[0], LAYERS[3]])
def test_q_acts_and_is_trained(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(16, *shape)
    before, q = layer(x).detach(), layer.log_q.detach().clone()
    with torch.no_grad():
        layer.log_q[0] += 2
    assert (layer(x) - before).abs().max() > 1e-2
    layer.log_q.data.copy_(q)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    (layer(x) - 1).square().sum().backward()
    optimizer.step()
    assert (layer.log_q - q).abs().max() > 1e-4
    # A common factor of q does nothing: only the ratios are in Eq. 12.
    after = layer(x).detach()
    with torch.no_grad():
        layer.log_q += 1.5
    assert torch.allclose(layer(x), after, atol=1e-5)


@pytest.mark.parametrize(("make", "shape"), LAYERS[:6])
def test_after_optimiser_steps_the_bound_still_holds(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(3)
    layer = make()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(10):
        loss = -(layer(torch.randn(8, *shape))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # At most 1 in float32's own numbers, read as float64.
    assert worst_case(layer.double().eval().requires_grad_(False), shape) <= 1 + 1e-9


def test_the_pitfall_without_the_absolute_value() -> None:
    """A published variant sums W^T W without |.|: norms beyond 1 in every random initialisation."""
    for seed in range(12):
        torch.manual_seed(seed)
        layer = SLLConv(8, 8).double().requires_grad_(False)
        signed = F.conv2d(layer.weight, layer.weight, padding=2).sum((1, 2, 3)).abs()

        def all_on(x: Tensor, layer: SLLConv = layer, signed: Tensor = signed) -> Tensor:
            hidden = F.conv2d(x, layer.weight, padding=1) * (2 / signed)[:, None, None]
            return x - F.conv_transpose2d(hidden, layer.weight, padding=1)

        assert torch.linalg.svdvals(operator_matrix(all_on, (8, 4, 4))).max() > 1.05
        assert worst_case(layer, (8, 4, 4)) <= 1 + 1e-9


def test_a_row_of_zeros_and_a_huge_bias_stay_finite() -> None:
    layer = SLLDense(4, 3)
    with torch.no_grad():
        layer.weight[1] = 0
        layer.bias.fill_(1e4)
    x = torch.randn(2, 4)
    assert bool(torch.isfinite(layer(x)).all())


def test_an_even_kernel_is_an_error() -> None:
    with pytest.raises(ValueError, match="odd kernel_size, found 4"):
        SLLConv(2, 2, 4)
