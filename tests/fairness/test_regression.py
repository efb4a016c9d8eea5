"""Generalised least squares of accuracies: against a formula in numpy, identities, and ends."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from percert.fairness.least_squares import COVARIANCES, binomial_variances, paper_variances, pooled
from percert.fairness.p_values import f_p_value, t_p_value
from percert.fairness.regression import adjust_line, fit_line


def groups(seed=0, count=41, slope=0.03, spread=0.04):
    rng = np.random.default_rng(seed)
    attribute = rng.normal(9, 1.4, count)
    n = np.round(50 * 40 ** rng.random(count))
    accuracy = np.clip(0.7 + slope * (attribute - 9) + spread * rng.normal(size=count), 0.02, 0.98)
    return accuracy, attribute, n


def by_hand(accuracy, attribute, variances, confidence=0.95):
    """The textbook: beta = (X' S^-1 X)^-1 X' S^-1 y, with the scale from the residuals."""
    x = np.stack([np.ones_like(attribute), attribute], 1)
    inverse = np.diag(1 / variances)
    bread = np.linalg.inv(x.T @ inverse @ x)
    beta = bread @ x.T @ inverse @ accuracy
    left = accuracy - x @ beta
    df = len(accuracy) - 2
    scale = left @ inverse @ left / df
    error = np.sqrt(scale * bread[1, 1])
    f = (beta[1] / error) ** 2
    reach = stats.t.ppf((1 + confidence) / 2, df) * error
    mean = (accuracy / variances).sum() / (1 / variances).sum()
    r2 = 1 - (left @ inverse @ left) / ((accuracy - mean) @ inverse @ (accuracy - mean))
    return beta, f, (beta[1] - reach, beta[1] + reach), r2, bread * scale


@pytest.mark.parametrize("name", ["paper", "binomial", "equal"])
def test_every_number_is_that_of_the_formula(name):
    accuracy, attribute, n = groups()
    variances = {
        "paper": 1 / np.sqrt(n),
        "binomial": (accuracy @ n / n.sum()) * (1 - accuracy @ n / n.sum()) / n,
        "equal": np.ones_like(n),
    }[name]
    beta, f, interval, r2, _ = by_hand(accuracy, attribute, variances)
    line = fit_line(accuracy, attribute, n, covariance=name)
    assert (line.intercept, line.slope) == pytest.approx(tuple(beta), rel=1e-9)
    assert line.test.statistic == pytest.approx(f, rel=1e-9)
    assert line.test.df == (1, 39)
    assert line.test.p_value == pytest.approx(stats.f.sf(f, 1, 39), rel=1e-9)
    assert line.interval == pytest.approx(interval, rel=1e-9)
    assert line.r2 == pytest.approx(r2, rel=1e-9)


def test_with_the_identity_it_is_ordinary_least_squares():
    accuracy, attribute, n = groups(1)
    ordinary = stats.linregress(attribute, accuracy)
    for line in (
        fit_line(accuracy, attribute, n, covariance=np.ones_like(n)),
        fit_line(accuracy, attribute, n, covariance="equal"),
        fit_line(accuracy, attribute, np.full_like(n, 400.0), covariance="paper"),
        fit_line(accuracy, attribute, np.full_like(n, 400.0), covariance="binomial"),
    ):
        assert line.slope == pytest.approx(ordinary.slope, rel=1e-9)
        assert line.intercept == pytest.approx(ordinary.intercept, rel=1e-9)
        assert line.test.p_value == pytest.approx(ordinary.pvalue, rel=1e-7)
        assert line.r2 == pytest.approx(ordinary.rvalue**2, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*COVARIANCES]),
    st.floats(-12, 12),
    st.floats(-6, 6),
    st.sampled_from([-1, 1]),
    st.integers(0, 20),
)
def test_an_affine_change_of_the_attribute_changes_the_slopes_unit_alone(
    covariance, exponent, shift, sign, seed
):
    """Days or milliseconds, dollars or billions: within what float64 keeps of the attribute."""
    accuracy, attribute, n = groups(seed, count=12)
    unit = sign * 10.0**exponent
    line = fit_line(accuracy, attribute, n, covariance=covariance)
    # Up to a million times the spread is added: that leaves 10 of the attribute's 16 digits.
    moved = fit_line(accuracy, unit * (attribute + 10.0**shift), n, covariance=covariance)
    assert moved.test.statistic == pytest.approx(line.test.statistic, rel=1e-6)
    assert moved.test.p_value == pytest.approx(line.test.p_value, rel=1e-6)
    assert moved.slope * unit == pytest.approx(line.slope, rel=1e-6)
    assert moved.per_sd == pytest.approx(sign * line.per_sd, rel=1e-6)
    assert moved.r2 == pytest.approx(line.r2, rel=1e-6)
    assert sorted(sign * end * abs(unit) for end in moved.interval) == pytest.approx(
        line.interval, rel=1e-6
    )
    np.testing.assert_allclose(moved.cooks, line.cooks, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("factor", [0.01, 100])
def test_a_common_factor_of_the_variances_does_not_change_the_test(factor):
    accuracy, attribute, n = groups()
    line = fit_line(accuracy, attribute, n, covariance="paper")
    scaled = fit_line(accuracy, attribute, n, covariance=factor * paper_variances(n))
    assert scaled.test.statistic == pytest.approx(line.test.statistic, rel=1e-9)


def test_times_in_milliseconds_are_not_a_finding():
    """A pseudo-inverse of the raw columns dropped a direction and rejected with p = 1.6e-37."""
    rng = np.random.default_rng(1)
    days = rng.uniform(0, 400, 30)
    n = np.full(30, 200.0)
    accuracy = rng.binomial(200, 0.8, 30) / 200
    in_days = fit_line(accuracy, days, n)
    in_milliseconds = fit_line(accuracy, 1.6e12 + 8.64e7 * days, n)
    assert not in_days.test.significant
    assert in_milliseconds.test.p_value == pytest.approx(in_days.test.p_value, rel=1e-6)
    totals = fit_line(accuracy, 1e13 * (1 + days / 400), n)
    assert 0 <= totals.r2 < 0.2


def test_a_constant_with_float_noise_is_a_constant():
    accuracy, _, n = groups()
    noisy = np.where(np.arange(41) % 2, 0.3, 0.1 + 0.2)
    assert np.ptp(noisy) > 0
    with pytest.raises(ValueError, match="constant attribute"):
        fit_line(accuracy, noisy, n)


def test_cooks_distance_is_what_leaving_a_group_out_does():
    accuracy, attribute, n = groups(2, count=9)
    variances = paper_variances(n)
    beta, _, _, _, covariance = by_hand(accuracy, attribute, variances)
    expected = []
    for place in range(9):
        kept = np.arange(9) != place
        without = by_hand(accuracy[kept], attribute[kept], variances[kept])[0]
        move = beta - without
        expected.append(move @ np.linalg.inv(covariance) @ move / 2)
    line = fit_line(accuracy, attribute, n, covariance="paper")
    np.testing.assert_allclose(line.cooks, expected, rtol=1e-8)


def test_robust_errors_are_the_sandwich():
    accuracy, attribute, n = groups(3)
    x = np.stack([np.ones_like(attribute), attribute], 1)
    bread = np.linalg.inv(x.T @ x)
    left = accuracy - x @ (bread @ x.T @ accuracy)
    leverage = np.einsum("ij,jk,ik->i", x, bread, x)
    meat = x.T @ np.diag((left / (1 - leverage)) ** 2) @ x
    error = np.sqrt((bread @ meat @ bread)[1, 1])
    line = fit_line(accuracy, attribute, n, covariance="robust")
    assert line.test.statistic == pytest.approx((line.slope / error) ** 2, rel=1e-9)
    assert line.slope == pytest.approx(stats.linregress(attribute, accuracy).slope, rel=1e-9)


def test_the_spread_between_groups_is_found():
    accuracy, attribute, _n = groups(4, count=400, spread=0.06)
    n = np.full(400, 1000.0)
    line = fit_line(accuracy, attribute, n, covariance="between")
    # 400 residuals know their standard deviation within 0.06 / sqrt(800) = 0.0021; 4 of these.
    drawn = np.sqrt(0.06**2 - np.mean(accuracy * (1 - accuracy)) / 1000)
    assert line.between == pytest.approx(drawn, abs=0.0085)
    variances = line.between**2 + binomial_variances(accuracy, n)
    assert line.slope == pytest.approx(by_hand(accuracy, attribute, variances)[0][1], rel=1e-9)


def test_the_spread_is_that_of_paule_and_mandel():
    accuracy, attribute, n = groups(4, spread=0.06)
    line = fit_line(accuracy, attribute, n)
    variances = line.between**2 + binomial_variances(accuracy, n)
    beta, f, _, r2, _ = by_hand(accuracy, attribute, variances)
    left = accuracy - beta[0] - beta[1] * attribute
    assert (left**2 / variances).sum() == pytest.approx(39, rel=1e-9)
    assert line.test.statistic == pytest.approx(f, rel=1e-9)
    assert line.r2 == pytest.approx(r2, rel=1e-9)
    assert line.intercept == pytest.approx(beta[0], rel=1e-9)


def test_the_pooled_share_and_not_each_groups_own_gives_the_weights():
    """Own shares would make the lucky groups the surest."""
    accuracy, n = np.array([1.0, 0.9, 0.8]), np.array([30.0, 60.0, 110.0])
    share = pooled(accuracy[None], n)[0]
    assert share == pytest.approx((30 + 54 + 88) / 200)
    np.testing.assert_allclose(binomial_variances(accuracy, n) * n, share * (1 - share))
    assert binomial_variances(np.ones(3), n).min() > 0


def test_without_a_spread_between_groups_it_is_the_binomial_covariance():
    rng = np.random.default_rng(0)
    attribute, n = rng.normal(size=30), np.full(30, 100)
    # Flatter than chance: 100 images cannot all come so close to 0.7.
    accuracy = 0.7 + 0.01 * attribute + 0.001 * rng.normal(size=30)
    between = fit_line(accuracy, attribute, n, covariance="between")
    assert between.between == 0
    binomial = fit_line(accuracy, attribute, n, covariance="binomial")
    assert between.slope == pytest.approx(binomial.slope, rel=1e-9)
    assert between.test.statistic == pytest.approx(binomial.test.statistic, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_the_interval_holds_0_exactly_where_the_test_does_not_reject(seed, confidence):
    accuracy, attribute, n = groups(seed, count=7, spread=0.03)
    line = fit_line(accuracy, attribute, n, confidence=confidence)
    for end in line.interval:
        # With a slope at the interval's end taken off, the test is at its critical value.
        moved = fit_line(
            np.clip(accuracy - end * (attribute - attribute.mean()), 0, 1), attribute, n
        )
        assert moved.test.p_value == pytest.approx(1 - confidence, rel=0.05)


def test_with_equal_sizes_the_simulated_p_value_is_that_of_f():
    """With one variance for all groups F has its textbook distribution, whatever the spread."""
    accuracy, attribute, n = groups(11, count=10, slope=0.02)
    line = fit_line(accuracy, attribute, np.full_like(n, 300.0))
    expected = stats.f.sf(line.test.statistic, 1, 8)
    assert line.test.p_value == pytest.approx(expected, rel=0.1)


def test_far_out_the_p_value_keeps_falling():
    attribute = np.arange(12.0)
    accuracy = 0.2 + 0.05 * attribute + 0.001 * np.cos(attribute)
    line = fit_line(accuracy, attribute, np.linspace(50, 2000, 12))
    assert 0 < line.test.p_value < 1e-9


def test_groups_that_are_all_right_or_all_wrong_do_not_fix_the_line():
    accuracy, attribute, n = groups(5, count=8)
    accuracy[:2] = 0.0, 1.0
    line = fit_line(accuracy, attribute, n, covariance="binomial")
    assert np.isfinite([line.slope, line.test.statistic, line.test.p_value, *line.cooks]).all()


def test_statsmodels_agrees_on_the_whole_table():
    accuracy, attribute, n = groups(6)
    fit = sm.GLS(accuracy, sm.add_constant(attribute), sigma=np.diag(1 / np.sqrt(n))).fit()
    line = fit_line(accuracy, attribute, n, confidence=0.9, covariance="paper")
    assert line.interval == pytest.approx(tuple(fit.conf_int(0.1)[1]), rel=1e-9)
    assert line.test.p_value == pytest.approx(fit.f_pvalue, rel=1e-9)


def test_the_papers_printed_numbers():
    assert f_p_value(5.392, (1, 39)) == pytest.approx(0.02554, abs=5e-6)
    assert t_p_value(3.852, 49) == pytest.approx(0.00017, abs=5e-6)
    # What its words would be: a two-sample test, and a two-sided one. Neither is what it prints.
    assert t_p_value(3.852, 98) == pytest.approx(0.00010, abs=5e-6)
    assert t_p_value(3.852, 49, "two-sided") == pytest.approx(2 * t_p_value(3.852, 49))
    assert t_p_value(-3.852, 49, "less") == t_p_value(3.852, 49)
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_p_value(1.0, 0)
    with pytest.raises(ValueError, match="F-test"):
        f_p_value(-1.0, (1, 39))


def test_the_words_go_with_the_numbers():
    strong = fit_line(*groups(7, slope=0.05), attribute_name="log GDP").test
    assert strong.significant
    assert strong.may.startswith("Rejected")
    assert "higher where log GDP is higher" in strong.may
    falling = fit_line(*groups(7, slope=-0.05), attribute_name="log GDP").test
    assert "lower where log GDP is higher" in falling.may
    accuracy, attribute, n = groups(8, slope=0.0, count=12)
    weak = fit_line(accuracy, attribute, n).test
    assert not weak.significant
    assert weak.may.startswith("Not rejected")
    assert "cause" in weak.may_not
    assert "12 groups are few" in weak.may_not
    assert "few" not in strong.may_not
    assert weak.to_dict()["df"] == [1.0, 10.0]


def test_the_sentence_follows_the_adjusted_p_value():
    line = fit_line(*groups(7, slope=0.05), attribute_name="log GDP")
    beside = adjust_line(line, 0.2, 3, "log GDP", 0.95).test
    assert not beside.significant
    assert beside.may.startswith("Not rejected")
    assert "p = 0.2 by Holm's method for 3 tests" in beside.may
    assert "Alone it would count as found" in beside.may
    assert beside.p_value == line.test.p_value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, g, n: (a[:2], g[:2], n[:2]), "at least 3"),
        (lambda a, g, n: (a, np.full_like(g, 9.0), n), "constant attribute"),
        (lambda a, g, n: (np.append(a[1:], np.nan), g, n), "accuracy: expected finite"),
        (lambda a, g, n: (a, np.append(g[1:], np.nan), n), "attribute: expected finite"),
        (lambda a, g, n: (a, np.append(g[1:], np.inf), n), "attribute: expected finite"),
        (lambda a, g, n: (np.append(a[1:], 1.01), g, n), r"share in \[0, 1\], found 1.01"),
        (lambda a, g, n: (np.append(a[1:], -0.2), g, n), r"share in \[0, 1\], found -0.2"),
        (lambda a, g, n: (a, g, np.append(n[1:], 0)), "at least one image"),
        (lambda a, g, n: (np.full_like(a, 0.5), g, n), "without any spread"),
        (lambda a, g, n: (a, g[1:], n), "one number a group"),
    ],
)
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_what_makes_no_sense_is_one_clear_error(change, said, covariance):
    with pytest.raises(ValueError, match=said):
        fit_line(*change(*groups()), covariance=covariance)


def test_a_covariance_must_be_known_or_be_variances():
    accuracy, attribute, n = groups()
    with pytest.raises(ValueError, match="expected one of between, paper"):
        fit_line(accuracy, attribute, n, covariance="papers")
    with pytest.raises(ValueError, match="41 positive variances"):
        fit_line(accuracy, attribute, n, covariance=-np.ones(41))


def test_robust_errors_refuse_a_group_that_fixes_the_line_alone():
    attribute = np.array([1.0, 1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="one group alone"):
        fit_line(np.array([0.5, 0.6, 0.7, 0.9]), attribute, np.full(4, 60.0), covariance="robust")
