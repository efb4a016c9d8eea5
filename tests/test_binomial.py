"""Counts and chances against statsmodels and scipy."""

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from percert.binomial import at_least, chance_of_hits, share_interval


@pytest.mark.parametrize(("hits", "draws"), [(0, 7), (3, 7), (57, 57), (1, 1)])
def test_the_interval_of_a_share_is_statsmodels(hits, draws):
    expected = proportion_confint(hits, draws, method="wilson")
    assert share_interval(hits, draws) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("draws", [1, 50, 1000, 100_000])
@pytest.mark.parametrize("p", [0.0, 1e-3, 0.2, 0.97, 1.0])
def test_tails_are_scipys(draws, p):
    for hits in (0, 1, 2, draws // 2, draws * 97 // 100, draws):
        expected = float(stats.binom.sf(hits - 1, draws, p))
        assert at_least(hits, draws, p) == pytest.approx(expected, abs=1e-9), hits


def test_a_tail_of_many_hits_is_right_relative_to_itself():
    """Where a certificate is sure to 1e-30, 1 minus the rest would say 0."""
    expected = float(stats.binom.sf(899, 1000, 0.75))
    assert 0 < expected < 1e-30
    assert at_least(900, 1000, 0.75) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("hits", "draws"), [(0, 10), (1, 40), (7, 10), (100, 100), (950, 1000)])
@pytest.mark.parametrize("probability", [0.01, 0.95])
def test_chances_are_those_of_clopper_and_pearson_and_on_the_safe_side(hits, draws, probability):
    exact = float(stats.beta.ppf(probability, hits, draws - hits + 1)) if hits else 0.0
    low, high = chance_of_hits(hits, draws, probability)
    assert (low, high) == pytest.approx((exact, exact), abs=1e-9)
    assert at_least(hits, draws, low) <= probability or hits == 0
    assert at_least(hits, draws, high) >= probability
