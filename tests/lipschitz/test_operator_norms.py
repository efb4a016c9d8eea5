"""Upper bounds against the exact singular values, lower bounds beneath them."""

import pytest
import torch
import torch.nn.functional as F

from percert.lipschitz.bound import LipschitzEstimate
from percert.lipschitz.network import non_finite_weights, weights_hash
from percert.lipschitz.operator_norms import (
    convolution_norm,
    dense_norm,
    jacobian_norm,
    singular_values,
)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4)])
def test_dense_norm_is_the_largest_singular_value(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64)
    assert dense_norm(matrix) == pytest.approx(torch.linalg.svdvals(matrix)[0].item(), rel=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (6, 6), (7, 5)])
@pytest.mark.parametrize("kernel", [(3, 2, 3, 3), (1, 4, 5, 5), (4, 1, 1, 1), (2, 2, 3, 5)])
def test_convolution_norm_is_an_upper_bound(
    size: tuple[int, int], kernel: tuple[int, int, int, int]
) -> None:
    weight = torch.randn(kernel, dtype=torch.float64)
    padding = (kernel[2] // 2, kernel[3] // 2)
    exact = singular_values(lambda x: F.conv2d(x, weight, padding=padding), (kernel[1], *size))
    bound = convolution_norm(weight, size)
    assert bound >= exact[0] * (1 - 1e-12)
    # It nears the norm as the image grows; on a tiny one it may be far above.
    assert bound <= weight.abs().sum().item()


def test_the_pitfall_of_too_short_a_period() -> None:
    """A period of half the image under-reports: that is why it is refused."""
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    weight[0, 0, 1] = torch.tensor([1.0, 1.0, -1.0])  # its gain peaks between coarse frequencies
    exact = singular_values(lambda x: F.conv2d(x, weight, padding=1), (1, 24, 24))[0]
    coarse = torch.fft.fft2(weight, s=(3, 1)).abs().max()
    with pytest.raises(ValueError, match=r"at least \(26, 26\) .* found \(24, 24\)"):
        convolution_norm(weight, (24, 24), period=(24, 24))
    assert convolution_norm(weight, (24, 24)) >= exact
    assert coarse < exact


def test_power_iteration_is_a_lower_bound_and_another_type() -> None:
    weight = torch.randn(6, 9, dtype=torch.float64)
    exact = torch.linalg.svdvals(weight)[0].item()
    few = jacobian_norm(lambda x: x @ weight.T, torch.zeros(1, 9, dtype=torch.float64), steps=2)
    many = jacobian_norm(lambda x: x @ weight.T, torch.zeros(1, 9, dtype=torch.float64), steps=300)
    assert isinstance(many, LipschitzEstimate)
    assert few.value <= exact * (1 + 1e-12)
    assert many.value == pytest.approx(exact, rel=1e-6)
    nothing = jacobian_norm(lambda x: 0 * x, torch.zeros(1, 3))
    assert nothing.value == 0.0


def test_the_hash_depends_on_names_shapes_dtypes_and_bytes() -> None:
    layer = torch.nn.Linear(2, 3)
    seen = {weights_hash(layer)}
    with torch.no_grad():
        layer.bias[0] += 1
    seen.add(weights_hash(layer))
    seen.add(weights_hash(torch.nn.Sequential(layer)))
    # float32 weights that are computed with in float64 are the same numbers.
    seen.add(weights_hash(layer.double()))
    assert len(seen) == 3
    with torch.no_grad():
        layer.bias[0] += 1e-12
    seen.add(weights_hash(layer))
    layer.weight = torch.nn.Parameter(layer.weight.reshape(2, 3))
    seen.add(weights_hash(layer))
    assert len(seen) == 5
    assert all(len(value) == 64 for value in seen)


def test_non_finite_weights_are_named() -> None:
    layer = torch.nn.Linear(2, 3)
    assert non_finite_weights(layer) == []
    with torch.no_grad():
        layer.bias[1] = float("inf")
    assert non_finite_weights(layer) == ["bias"]
