"""Budgets keep their PSNR at every size."""

import math

import pytest

from experiments.triplets.distortions import BUDGETS, psnr, scaled


@pytest.mark.parametrize("size", [(299, 299), (32, 32), (598, 150)])
def test_the_same_psnr_at_every_size(size: tuple[int, int]) -> None:
    """A change of the scaled length has the mean squared error of the stated PSNR."""
    for eps in BUDGETS:
        mean_square = scaled(eps, size) ** 2 / (3 * size[0] * size[1])
        assert -10 * math.log10(mean_square) == pytest.approx(psnr(eps))


def test_a_linf_change_of_8_is_the_budget_of_the_issue() -> None:
    assert math.sqrt(3) * 299 * 8 / 255 == pytest.approx(16.2, abs=0.05)
    assert psnr(16.2) == pytest.approx(30.1, abs=0.05)
    assert scaled(5.0, (299, 299)) == 5.0
