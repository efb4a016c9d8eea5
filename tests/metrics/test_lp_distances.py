"""Lengths of the difference against numpy, and their gradients where they have kinks."""

import numpy as np
import pytest
import torch

from percert.metrics.full_reference.pixel_errors import NORMS, lp_distance

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


@pytest.mark.parametrize("norm", NORMS)
def test_agrees_with_numpy(norm):
    reference, candidate = torch.rand(2, 4, 3, 7, 5, dtype=torch.float64)
    difference = (candidate - reference).flatten(1).numpy()
    expected = torch.from_numpy(np.linalg.norm(difference, ORDERS[norm], axis=1))
    torch.testing.assert_close(lp_distance(reference, candidate, norm), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_is_the_dual_direction_of_unit_length(norm):
    reference, candidate = torch.rand(2, 2, 3, 7, 5, dtype=torch.float64)
    candidate.requires_grad_()
    lp_distance(reference, candidate, norm).sum().backward()
    dual = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
    lengths = torch.linalg.vector_norm(candidate.grad.flatten(1), dual, dim=1)
    torch.testing.assert_close(lengths, torch.ones(2, dtype=torch.float64))


def test_a_difference_too_small_to_square_has_a_finite_gradient():
    reference = torch.zeros(1, 3, 2, 2)
    candidate = torch.full((1, 3, 2, 2), 1e-30, requires_grad=True)
    lp_distance(reference, candidate, "l2").backward()
    assert candidate.grad.isfinite().all()


def test_another_norm_is_an_error():
    with pytest.raises(ValueError, match=r"norm: expected one of 'l1', 'l2', 'linf', found 'l0'"):
        lp_distance(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), "l0")
