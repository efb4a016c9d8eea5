"""Mixed-effects logistic regression against lme4's values, brute-force integrals and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import log_expit

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.mixed_logistic import fit_mixed
from percert.fairness.predictions import check_predictions
from percert.fairness.regression import CannotEstimate


def groups(count=14, slope=0.4, spread=0.3, seed=0, odds=1.2):
    rng = np.random.default_rng(seed)
    x, n = rng.normal(size=count), rng.integers(40, 600, count).astype(float)
    logits = odds + slope * x + spread * rng.normal(size=count)
    return rng.binomial(n.astype(int), 1 / (1 + np.exp(-logits))) / n, x, n


def by_brute_force(intercept, slope, spread, share, x, n):
    """The log likelihood by the trapezoidal rule on a fine grid of u."""
    u = np.linspace(-9, 9, 20_001)
    total = 0.0
    for p, xi, ni in zip(share, x, n, strict=True):
        odds = intercept + slope * xi + spread * u
        joint = ni * (p * log_expit(odds) + (1 - p) * log_expit(-odds)) - u**2 / 2
        top = joint.max()
        total += top + np.log(np.exp(joint - top).sum() * (u[1] - u[0]) / np.sqrt(2 * np.pi))
    return total


def test_the_values_of_lme4():
    """glmer(cbind(NABOVE, NBELOW) ~ LOWINC + (1 | district)), of districts of 50 pupils or more."""
    data = sm.datasets.star98.load_pandas()
    above = data.endog.to_numpy(float)
    n, x = above.sum(1), data.exog["LOWINC"].to_numpy(float)
    large = n >= 50
    found = fit_mixed((above[:, 0] / n)[large], x[large], n[large])
    assert found.slope == pytest.approx(-0.0356, abs=5e-5)
    assert found.spread == pytest.approx(0.44, abs=5e-3)
    assert found.test.p_value < 1e-50


@pytest.mark.parametrize("spread", [0.1, 0.6, 2.0])
def test_the_likelihood_is_the_integral_and_the_fit_its_maximum(spread):
    share, x, n = groups(spread=spread, seed=3)
    found = fit_mixed(share, x, n)
    best = by_brute_force(found.intercept, found.slope, found.spread, share, x, n)
    assert best == pytest.approx(found.log_likelihood, abs=1e-6)
    for change in np.vstack([np.eye(3), -np.eye(3)]) * 0.01:
        moved = np.array([found.intercept, found.slope, found.spread]) + change
        assert by_brute_force(*moved, share, x, n) < best
    step = 1e-3  # the information, by differences of the likelihood along its ridge
    values = np.array([found.intercept, found.slope, found.spread])
    steps = np.eye(3) * step

    def at(*moves):
        return by_brute_force(*(values + sum(moves)), share, x, n)

    hessian = np.array(
        [
            [at(a, b) - at(a, -b) - at(-a, b) + at(-a, -b) for b in steps] for a in steps
        ]
    ) / (4 * step**2)  # fmt: skip
    assert found.standard_error == pytest.approx(np.linalg.inv(-hessian)[1, 1] ** 0.5, rel=1e-3)


def test_groups_without_a_spread_are_a_plain_logistic_regression():
    n, x = np.full(9, 10_000.0), np.linspace(-1, 1, 9)
    share = np.round(n / (1 + np.exp(-(0.8 + 0.5 * x)))) / n
    found = fit_mixed(share, x, n)
    counts = np.stack([share * n, n - share * n], 1)
    plain = sm.GLM(counts, sm.add_constant(x), family=sm.families.Binomial()).fit()
    assert found.spread < 1e-3
    assert (found.intercept, found.slope) == pytest.approx(tuple(plain.params), rel=1e-4)
    assert found.standard_error == pytest.approx(plain.bse[1], rel=1e-3)


@pytest.mark.parametrize(("unit", "origin"), [(1e-6, 0.0), (-3e5, 1e11), (86_400e3, -5.0)])
def test_any_unit_of_the_attribute_gives_the_same_test(unit, origin):
    share, x, n = groups()
    ours, theirs = fit_mixed(share, x, n), fit_mixed(share, origin + unit * x, n)
    assert theirs.test.p_value == pytest.approx(ours.test.p_value, rel=1e-4)
    assert theirs.slope * unit == pytest.approx(ours.slope, rel=1e-4)
    assert theirs.spread == pytest.approx(ours.spread, rel=1e-4)


def test_right_and_wrong_turned_around_turn_the_slope():
    share, x, n = groups(odds=3.0)
    ours, theirs = fit_mixed(share, x, n), fit_mixed(1 - share, x, n)
    assert theirs.slope == pytest.approx(-ours.slope, rel=1e-5)
    assert theirs.test.p_value == pytest.approx(ours.test.p_value, rel=1e-4)


@pytest.mark.parametrize(("count", "spread"), [(6, 0.3), (12, 0.2)])
def test_its_level_is_what_it_says_where_the_normal_distribution_is_not(count, spread):
    fits = [fit_mixed(*groups(count, 0.0, spread, seed)) for seed in range(300)]
    assert 0.01 < np.mean([fit.test.p_value < 0.05 for fit in fits]) < 0.085
    assert np.mean([abs(fit.slope) > 1.96 * fit.standard_error for fit in fits]) > 0.085


def test_its_interval_holds_0_exactly_where_it_does_not_reject():
    for seed in range(30):
        fit = fit_mixed(*groups(8, 0.15, 0.3, seed))
        assert (fit.interval[0] <= 0 <= fit.interval[1]) == (fit.test.p_value >= 0.05)


def test_a_slope_without_a_bound_is_refused():
    with pytest.raises(CannotEstimate, match="no bound"):
        fit_mixed(np.array([0.0, 0, 0, 1, 1, 1]), np.arange(6.0), np.full(6, 80.0))


def test_the_audit_has_it_for_every_model_and_attribute():
    import pandas as pd

    share, x, n = groups(8, seed=5)
    rows = [
        (f"m{model}", f"{place}/{image}", f"g{place}", int(image < round(share[place] * size)))
        for model in range(2)
        for place, size in enumerate(n.astype(int))
        for image in range(size)
    ]
    frame = check_predictions(pd.DataFrame(rows, columns=["model", "image", "group", "correct"]))
    attributes = pd.DataFrame({"x": x, "y": np.cos(x)}, index=[f"g{place}" for place in range(8)])
    settings = AuditSettings(smallest=1, draws=0)
    found = audit_groups(frame, attributes, settings=settings)
    assert [(entry.model, entry.attribute) for entry in found.mixed] == [
        ("m0", "x"), ("m0", "y"), ("m1", "x"), ("m1", "y"),
    ]  # fmt: skip
    direct = fit_mixed(share, x, n)
    assert found.mixed[0].slope == pytest.approx(direct.slope)
    assert found.mixed[0].test.p_adjusted >= direct.test.p_value
    assert found.to_dict()["details"]["mixed"][0]["spread"] == pytest.approx(direct.spread)
    assert "the logit of accuracy" in found.mixed[0].test.null
