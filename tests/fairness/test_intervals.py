"""Intervals of groups' accuracies: against statsmodels and scipy, and how often they hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from percert.binomial import wilson
from percert.fairness.intervals import clopper_pearson, extremes, heterogeneity, shrunken


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.data(), st.sampled_from([0.8, 0.95, 0.999]))
def test_both_intervals_are_those_of_statsmodels(n, data, confidence):
    right = data.draw(st.integers(0, n))
    share, size = np.array([right / n]), np.array([float(n)])
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "beta")):
        expected = proportion_confint(right, n, 1 - confidence, method)
        found = [float(end[0]) for end in ours(share, size, confidence)]
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-10), method


def test_none_of_twelve_is_not_from_none_to_none():
    lower, upper = wilson(np.zeros(1), np.full(1, 12.0))
    assert lower[0] == 0
    assert upper[0] == pytest.approx(0.2425, abs=1e-4)


@pytest.mark.parametrize("groups", [2, 10, 100])
@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_extremes_hold_all_at_once(groups, share, spread):
    rng = np.random.default_rng(groups)
    n = np.round(20 * 100 ** rng.random(groups))
    true = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + spread * rng.normal(size=groups))))
    draws, held = 400, 0
    for drawn in rng.binomial(n.astype(int), true, (draws, groups)) / n:
        found = extremes(drawn, n)
        held += (
            found.worst[0] <= true.min() <= found.worst[1]
            and found.best[0] <= true.max() <= found.best[1]
            and found.gap[0] <= np.ptp(true) <= found.gap[1]
            and found.ratio[0] <= true.min() / true.max() <= found.ratio[1]
            and bool(found.candidates[true.argmin()])
        )
    # It is proven to be at least 95 %: 400 draws of that have less than 366 in 1 of 1,000 cases.
    assert held >= 366


def test_heterogeneity_is_the_chi_square_of_the_table():
    right, n = np.array([50, 60, 90]), np.array([100.0, 110.0, 120.0])
    expected = stats.chi2_contingency(np.stack([right, n - right]), correction=False)
    found = heterogeneity(right / n, n)
    assert (found.statistic, found.df) == (pytest.approx(expected.statistic), expected.dof)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert not found.by_simulation


def test_few_errors_are_simulated_and_hold_the_level():
    rng = np.random.default_rng(0)
    n = np.full(12, 20.0)
    p_values = []
    for drawn in rng.binomial(20, 0.98, (300, 12)) / 20:
        found = heterogeneity(drawn, n, draws=500)
        if found is not None:
            assert found.by_simulation
            p_values.append(found.p_value)
    # 300 draws know 5 % within 1.3 %; 4 of these. Sums of few errors are coarse: below is allowed.
    assert np.mean(np.array(p_values) < 0.05) <= 0.1
    assert heterogeneity(np.ones(3), np.full(3, 9.0)) is None
    assert heterogeneity(np.full(1, 0.5), np.full(1, 9.0)) is None


def test_shrunken_estimates_are_nearer_the_truth():
    rng = np.random.default_rng(0)
    n = np.round(20 * 20 ** rng.random(40))
    true = rng.normal(0.8, 0.05, 40)
    drawn = rng.binomial(n.astype(int), true, (200, 40)) / n
    estimates = np.stack([shrunken(row, n)[0] for row in drawn])
    assert ((estimates - true) ** 2).mean() < 0.7 * ((drawn - true) ** 2).mean()
    spread = np.mean([shrunken(row, n)[1] for row in drawn])
    assert spread == pytest.approx(true.std(), abs=0.015)
    alike, none = shrunken(np.array([0.8, 0.8, 0.81]), np.full(3, 50.0))
    assert none == 0
    np.testing.assert_allclose(alike, alike[0])
