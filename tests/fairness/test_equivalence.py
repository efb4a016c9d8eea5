"""Fair within a margin, against statsmodels and simulation; the least detectable; plans."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from statsmodels.stats.power import FTestAnovaPower, NormalIndPower
from statsmodels.stats.proportion import proportions_ztest

from percert.fairness.equivalence import groups_within, pairs_p_value, score_p_values, slope_within
from percert.fairness.intervals import heterogeneity
from percert.fairness.least_squares import COVARIANCES, design_of
from percert.fairness.planning import (
    PlanSettings,
    groups_for_line,
    images_for_gap,
    images_for_line,
    images_for_margin,
    plan,
)
from percert.fairness.random_effects import p_value_of
from percert.fairness.regression import fit_line, fit_lines


def test_the_score_test_has_the_likeliest_shares_that_are_the_margin_apart():
    """Against a search for the maximum of the likelihood under the constraint."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        n, m = rng.integers(20, 400, 2)
        a = rng.integers(1, n)
        b = int(np.clip(rng.binomial(m, a / n), 1, m - 1))
        margin = float(rng.uniform(0.01, 0.3))

        def unlikely(p, a=a, b=b, n=n, m=m, margin=margin):
            return -(stats.binom.logpmf(a, n, p) + stats.binom.logpmf(b, m, p - margin))

        ends = (margin + 1e-12, 1 - 1e-12)
        p = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
        error = np.sqrt(p * (1 - p) / n + (p - margin) * (1 - p + margin) / m)
        (ours,) = score_p_values(*np.array([[a / n], [n], [b / m], [m]], float), margin)
        assert ours == pytest.approx(stats.norm.cdf((a / n - b / m - margin) / error), rel=1e-3)


def test_without_a_margin_the_score_test_is_the_pooled_z_test():
    (ours,) = score_p_values(*np.array([[0.6], [100], [0.7], [150]]), 0.0)
    assert ours == pytest.approx(proportions_ztest([60, 105], [100, 150], alternative="smaller")[1])


def test_the_smallest_margin_is_where_the_test_turns():
    share, n = np.array([0.9, 0.93, 0.88]), np.array([300.0, 500, 200])
    within = groups_within(share, n).within
    assert pairs_p_value(share, n, within) == pytest.approx(0.05, abs=1e-5)
    assert groups_within(share, n, within + 0.001).test.significant
    assert not groups_within(share, n, within - 0.001).test.significant
    assert np.ptp(share) < within


@pytest.mark.parametrize("covariance", ["equal", "binomial"])
def test_two_one_sided_t_tests_of_the_slope(covariance):
    rng = np.random.default_rng(1)
    x, n = rng.normal(size=14), np.full(14, 200.0)
    share = 0.8 + 0.01 * x + rng.normal(0, 0.03, 14)
    margin = 0.25
    found = slope_within(share, x, n, margin, covariance=covariance)
    fit = stats.linregress(x, share)  # of groups of one size both are ordinary least squares
    edge = margin / np.ptp(x)
    t = min(edge - fit.slope, edge + fit.slope) / fit.stderr
    assert found.test.p_value == pytest.approx(stats.t.sf(t, 12))
    half = stats.t.isf(0.05, 12) * fit.stderr
    assert found.within == pytest.approx((abs(fit.slope) + half) * np.ptp(x))


@pytest.mark.parametrize("covariance", [name for name in COVARIANCES if name != "robust"])
def test_the_slope_is_within_what_its_interval_is_within(covariance):
    """Two one-sided tests at 0.05 reject exactly where the 90 % interval lies in the margin."""
    rng = np.random.default_rng(2)
    x, n = rng.normal(size=12), rng.integers(60, 900, 12).astype(float)
    share = rng.binomial(n.astype(int), 0.85) / n
    line = fit_line(share, x, n, covariance=covariance, confidence=0.9)
    widest = max(map(abs, line.interval)) * np.ptp(x)
    assert slope_within(share, x, n, covariance=covariance).within == pytest.approx(widest)
    for margin in (0.98 * widest, 1.02 * widest):
        test = slope_within(share, x, n, margin, covariance=covariance).test
        assert test.significant == (margin > widest)


def test_any_unit_of_the_attribute_gives_the_same_margin():
    rng = np.random.default_rng(3)
    x, n = rng.normal(size=10), np.full(10, 150.0)
    share = rng.binomial(150, 0.8, 10) / 150
    ours, theirs = (slope_within(share, v, n, 0.2) for v in (x, 1e9 - 3e6 * x))
    assert ours.within == pytest.approx(theirs.within)
    assert ours.detectable == pytest.approx(theirs.detectable)
    assert ours.test.p_value == pytest.approx(theirs.test.p_value)


@pytest.mark.parametrize(
    ("true", "n", "least"),
    [([0.85, 0.9], [400, 300], 0.04), ([0.85, 0.9, 0.875], [400, 300, 2000], 0.0)],
    ids=["two", "three"],
)
def test_groups_that_differ_by_the_margin_are_rarely_called_fair(true, n, least):
    drawn = np.random.default_rng(4).binomial(n, true, (3000, len(n))) / n
    rejected = [pairs_p_value(share, np.array(n, float), 0.05) < 0.05 for share in drawn]
    assert least <= np.mean(rejected) < 0.06


def test_a_slope_at_the_margin_is_rarely_called_fair():
    """The one-sided test at the margin's edge; that TOST is the interval is tested above."""
    rng = np.random.default_rng(5)
    x, n, margin = np.linspace(0, 1, 15), np.full(15, 200), 0.06
    drawn = rng.binomial(n, 0.8 + margin * x + rng.normal(0, 0.02, (4000, 15))) / n
    design = design_of(x)
    lines = fit_lines(drawn, design, n.astype(float), "between")
    away = margin - lines.slope
    p_values = p_value_of(drawn, n.astype(float), design, away**2 / lines.variance) / 2
    assert 0.035 < np.mean((away > 0) & (p_values < 0.05)) < 0.065


def test_the_least_detectable_slope_is_found_four_times_in_five():
    rng = np.random.default_rng(6)
    x, n = np.linspace(0, 1, 30), np.full(30, 300)
    calm = rng.binomial(n, 0.85, (400, 30)) / n
    stated = np.median([slope_within(s, x, n.astype(float)).detectable for s in calm[:60]])
    drawn = rng.binomial(n, 0.85 + stated * (x - 0.5), (3000, 30)) / n
    p_values = fit_lines(drawn, design_of(x), n.astype(float), "between").p_value
    assert 0.74 < np.mean(p_values < 0.05) < 0.88


def power_of_chi_square(true, n, draws=1500):
    rng = np.random.default_rng(7)
    drawn = rng.binomial(n, true, (draws, len(n))) / n
    sizes = n.astype(float)
    return np.mean([heterogeneity(share, sizes, draws=0).p_value < 0.05 for share in drawn])


def test_the_least_detectable_gap_is_found_four_times_in_five():
    n = np.array([300, 250, 900, 1200, 800])
    gap = groups_within(np.full(5, 0.8), n.astype(float)).detectable
    low = 0.8 - gap * 300 / 550  # the two smallest, the others at their mean
    true = np.array([0.8 + gap * 250 / 550, low, 0.8, 0.8, 0.8])
    assert 0.76 < power_of_chi_square(true, n) < 0.84


def test_plans_keep_what_they_promise():
    n = images_for_gap(6, 0.85, 0.08)
    true = np.array([0.89, 0.81, 0.85, 0.85, 0.85, 0.85])
    assert 0.76 < power_of_chi_square(true, np.full(6, n)) < 0.84
    n = images_for_margin(6, 0.85, 0.08)
    drawn = np.random.default_rng(8).binomial(n, 0.85, (1500, 6)) / n
    sizes = np.full(6, float(n))
    assert 0.76 < np.mean([pairs_p_value(s, sizes, 0.08) < 0.05 for s in drawn]) < 0.84
    n = images_for_line(25, 0.85, 0.08, 0.02)
    x = np.linspace(0, 1, 25)
    rng = np.random.default_rng(9)
    true = 0.81 + 0.08 * x + rng.normal(0, 0.02, (3000, 25))
    drawn = rng.binomial(n, true) / n
    p_values = fit_lines(drawn, design_of(x), np.full(25, float(n)), "between").p_value
    assert 0.74 < np.mean(p_values < 0.05) < 0.86


def test_two_groups_need_what_statsmodels_says():
    effect = 0.1 / np.sqrt(0.25)
    expected = NormalIndPower().solve_power(effect, power=0.8, alpha=0.05)
    assert images_for_gap(2, 0.5, 0.1) == np.ceil(expected)
    # Six groups, two of them 0.1 apart: Cohen's f of a one-way table with as good as all df.
    f = np.sqrt(2 * 0.05**2 / 6) / 0.5
    power = FTestAnovaPower().power(f, 6 * images_for_gap(6, 0.5, 0.1), 0.05, k_groups=6)
    assert power == pytest.approx(0.8, abs=0.01)


def test_where_images_are_not_enough_groups_are_named():
    settings = PlanSettings(groups=20, rate=0.9, gap=0.1, spread=0.1)
    assert images_for_line(20, 0.9, 0.1, 0.1) is None
    groups = groups_for_line(settings)
    assert images_for_line(groups, 0.9, 0.1, 0.1) is not None
    assert images_for_line(groups - 1, 0.9, 0.1, 0.1) is None
    assert [need.groups for need in plan(settings)] == [None, groups]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"groups": 1}, "groups: expected at least 2"),
        ({"rate": 1.0}, "rate"),
        ({"gap": 0.0}, "gap: expected a difference"),
        ({"gap": 0.5}, "can differ by 0.2 at most"),
        ({"margin": 2.0}, "margin: expected"),
        ({"power": 1.0}, "power"),
        ({"spread": -1.0}, "spread"),
    ],
    ids=str,
)
def test_impossible_plans_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        PlanSettings(**({"groups": 4, "rate": 0.9} | given))


def test_one_group_and_strange_margins_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        groups_within(np.array([0.5]), np.array([10.0]))
    with pytest.raises(ValueError, match="margin"):
        groups_within(np.array([0.5, 0.6]), np.array([10.0, 10.0]), 1.5)


def test_groups_all_right_still_have_a_margin():
    found = groups_within(np.ones(3), np.full(3, 100.0), 0.1)
    assert found.test.significant
    assert 0 < found.within < 0.1
