"""Generalised least squares of accuracies: against a formula in numpy, identities, and ends."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from percert.fairness.covariance import COVARIANCES, binomial_variances, paper_variances
from percert.fairness.line import fit_line
from percert.fairness.printed import f_p_value, t_p_value


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
        "binomial": accuracy * (1 - accuracy) / n,
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
    ):
        assert line.slope == pytest.approx(ordinary.slope, rel=1e-9)
        assert line.intercept == pytest.approx(ordinary.intercept, rel=1e-9)
        assert line.test.p_value == pytest.approx(ordinary.pvalue, rel=1e-7)
        assert line.r2 == pytest.approx(ordinary.rvalue**2, rel=1e-9)


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.floats(-3, 3), st.floats(0.1, 10), st.integers(0, 20))
def test_units_and_scales_do_not_change_the_test(factor, shift, unit, seed):
    accuracy, attribute, n = groups(seed)
    line = fit_line(accuracy, attribute, n)
    scaled = fit_line(accuracy, attribute, n, covariance=factor * paper_variances(n))
    moved = fit_line(accuracy, shift + unit * attribute, n)
    assert scaled.test.statistic == pytest.approx(line.test.statistic, rel=1e-6)
    assert moved.test.statistic == pytest.approx(line.test.statistic, rel=1e-5)
    assert moved.slope * unit == pytest.approx(line.slope, rel=1e-5, abs=1e-12)


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
    line = fit_line(accuracy, attribute, np.full(400, 1000.0), covariance="between")
    # 400 residuals know their standard deviation within 0.06 / sqrt(800) = 0.0021; 4 of these.
    drawn = np.sqrt(0.06**2 - np.mean(accuracy * (1 - accuracy)) / 1000)
    assert line.between == pytest.approx(drawn, abs=0.0085)
    variances = line.between**2 + binomial_variances(accuracy, np.full(400, 1000.0))
    assert line.slope == pytest.approx(by_hand(accuracy, attribute, variances)[0][1], rel=1e-9)


def test_without_a_spread_between_groups_it_is_the_binomial_covariance():
    rng = np.random.default_rng(0)
    attribute, n = rng.normal(size=30), np.full(30, 100)
    # Flatter than chance: 100 images cannot all come so close to 0.7.
    accuracy = 0.7 + 0.01 * attribute + 0.001 * rng.normal(size=30)
    between = fit_line(accuracy, attribute, n, covariance="between")
    assert between.between == 0
    binomial = fit_line(accuracy, attribute, n, covariance="binomial")
    assert (between.slope, between.test.statistic) == (binomial.slope, binomial.test.statistic)


def test_groups_that_are_all_right_or_all_wrong_do_not_fix_the_line():
    accuracy, attribute, n = groups(5, count=8)
    accuracy[:2] = 0.0, 1.0
    line = fit_line(accuracy, attribute, n, covariance="binomial")
    assert np.isfinite([line.slope, line.test.statistic, line.test.p_value, *line.cooks]).all()
    assert binomial_variances(accuracy, n).min() > 0


def test_statsmodels_agrees_on_the_whole_table():
    accuracy, attribute, n = groups(6)
    fit = sm.GLS(accuracy, sm.add_constant(attribute), sigma=np.diag(1 / np.sqrt(n))).fit()
    line = fit_line(accuracy, attribute, n, confidence=0.9)
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
    with pytest.raises(ValueError, match="expected one of paper, binomial"):
        fit_line(accuracy, attribute, n, covariance="papers")
    with pytest.raises(ValueError, match="41 positive variances"):
        fit_line(accuracy, attribute, n, covariance=-np.ones(41))


def test_robust_errors_refuse_a_group_that_fixes_the_line_alone():
    attribute = np.array([1.0, 1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="one group alone"):
        fit_line(np.array([0.5, 0.6, 0.7, 0.9]), attribute, np.full(4, 60.0), covariance="robust")
