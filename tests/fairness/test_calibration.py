"""Calibration by group against scikit-learn, statsmodels and simulation with known truth."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import chi2
from sklearn.calibration import calibration_curve

from percert.binomial import wilson
from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.calibration import (
    calibration_error,
    excess_interval,
    group_calibration,
    recalibration_p_value,
)
from percert.fairness.predictions import check_predictions
from percert.fairness.report import write_report


def drawn(rng, shift=0.0, n=400):
    p = rng.beta(2, 1.5, n)
    odds = np.log(p / (1 - p)) + shift
    return p, (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_test_is_near_statsmodels_likelihood_ratio(shift):
    p, y = drawn(np.random.default_rng(0), shift, 20_000)
    exog = np.stack([np.ones(len(p)), np.log(p / (1 - p))], 1)
    model = sm.GLM(y, exog, family=sm.families.Binomial())
    ratio = 2 * (model.fit().llf - model.loglike(np.array([0.0, 1.0])))
    found = recalibration_p_value(p, y)
    assert chi2.isf(found, 2) == pytest.approx(ratio, rel=0.03, abs=0.05)


def test_the_test_holds_its_level_and_sees_both_kinds_of_fault():
    rng = np.random.default_rng(1)
    right = [recalibration_p_value(*drawn(rng)) < 0.05 for _ in range(1500)]
    assert np.mean(right) == pytest.approx(0.05, abs=0.018)
    p, _ = drawn(rng, n=2000)
    mild = 1 / (1 + np.exp(-0.6 * np.log(p / (1 - p))))
    assert recalibration_p_value(p, (rng.random(2000) < mild).astype(float)) < 1e-3
    assert recalibration_p_value(*drawn(rng, 0.5, 1000)) < 1e-3


def test_the_error_is_that_of_scikit_learns_curve():
    p, y = drawn(np.random.default_rng(2))
    observed, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert calibration_error(p, y[None])[0] == pytest.approx(
        np.abs(observed - predicted).mean(), abs=0.004
    )


def test_the_interval_of_the_excess_covers_and_alike_groups_are_alike():
    rng = np.random.default_rng(3)
    held, different = [], []
    for _ in range(400):
        parts = [drawn(rng, 0.5, n) for n in (60, 200, 500)]
        rows = pd.DataFrame(
            {
                "group": np.repeat(["a", "b", "c"], [60, 200, 500]),
                "probability": np.concatenate([p for p, _ in parts]),
                "positive": np.concatenate([y for _, y in parts]),
            }
        )
        found = group_calibration(rows, draws=0)
        for (p, _), entry in zip(parts, found.groups, strict=True):
            odds = np.log(p / (1 - p)) + 0.5
            truth = (1 / (1 + np.exp(-odds)) - p).mean()
            held.append(entry.interval[0] < truth < entry.interval[1])
        different.append(found.alike[2] < 0.05)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)
    assert np.mean(different) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("right", [0, 3, 12, 30])
def test_the_interval_of_one_probability_is_wilsons(right):
    share = np.array([right / 30])
    low, high = wilson(share, np.array([30.0]))
    positive = np.r_[np.ones(right), np.zeros(30 - right)]
    found = excess_interval(np.full(30, 0.4), positive)
    assert found == pytest.approx((low[0] - 0.4, high[0] - 0.4), abs=1e-8)


def test_sure_probabilities_have_an_interval_as_well():
    sure = np.array([0.0, 1.0, 1.0])
    low, high = excess_interval(sure, sure)
    assert low == -high < -0.3
    low, high = excess_interval(sure, np.zeros(3))
    assert low < -2 / 3 < high < 0
    nearly = np.array([1 - 1e-12] * 5 + [0.5])
    low, high = excess_interval(nearly, np.ones(6))
    assert low < 0.5 / 6 == pytest.approx(high, abs=1e-6)


def test_rare_errors_in_small_groups_hold_interval_and_level():
    """Where nothing went wrong by luck a group's own spread says that it is known for sure."""
    rng = np.random.default_rng(5)
    sizes = np.round(np.geomspace(20, 2000, 40)).astype(int)
    group = np.repeat(np.arange(40).astype(str), sizes)
    held, different = [], []
    for _ in range(60):
        p = rng.beta(3.8, 0.2, len(group)).clip(1e-4, 1 - 1e-4)
        positive = (rng.random(len(p)) < p).astype(int)
        rows = pd.DataFrame({"group": group, "probability": p, "positive": positive})
        found = group_calibration(rows, draws=0)
        held += [entry.interval[0] <= 0 <= entry.interval[1] for entry in found.groups]
        different.append(found.alike[2] < 0.05)
    assert np.mean(held) > 0.94
    assert np.mean(different) <= 0.15


def test_groups_of_sure_probabilities_do_not_outweigh_the_others():
    rng = np.random.default_rng(6)
    said = np.tile([0.0, 1.0], 20)
    sure = [(said, np.r_[said[:-1], 0.0]) for _ in range(5)]  # sure of 40, and wrong in one
    parts = [*sure, drawn(rng, n=200), drawn(rng, n=200)]
    rows = pd.DataFrame(
        {
            "group": np.repeat([str(i) for i in range(7)], [len(p) for p, _ in parts]),
            "probability": np.concatenate([p for p, _ in parts]),
            "positive": np.concatenate([y for _, y in parts]),
        }
    )
    statistic, df, p_value = group_calibration(rows, draws=0).alike
    assert (np.isfinite(statistic), df) == (True, 6)
    assert 0.01 < p_value <= 1


def test_probabilities_of_one_value_and_sure_ones():
    half = np.full(20, 0.5)
    assert recalibration_p_value(half, np.array([1.0] * 20)) < 1e-4
    assert recalibration_p_value(half, np.array([1.0, 0.0] * 10)) == 1.0
    assert recalibration_p_value(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 1.0
    assert recalibration_p_value(np.array([0.0, 0.4]), np.array([1.0, 0.0])) == 0.0


def test_the_audit_has_it_where_probabilities_and_labels_are_given(tmp_path):
    rng = np.random.default_rng(4)
    rows = []
    for group, shift in (("a", 0.0), ("b", 1.5)):
        p, y = drawn(rng, shift, 300)
        rows.append(
            pd.DataFrame(
                {
                    "image": [f"{group}{i}" for i in range(300)],
                    "group": group,
                    "label": np.where(y > 0, "yes", "no"),
                    "probability": p,
                }
            )
        )
    frame = check_predictions(pd.concat(rows, ignore_index=True).assign(model="m"))
    audit = audit_groups(frame, settings=AuditSettings(draws=20))
    (found,) = audit.calibrations.values()
    assert [entry.p_holm < 0.05 for entry in found.groups] == [False, True]
    assert found.alike[2] < 1e-4
    assert found.groups[1].observed == pytest.approx(
        (frame[frame["group"] == "b"]["label"] == "yes").mean()
    )
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Probabilities of m are shown to be wrong in b" in page
    other = check_predictions(pd.concat(rows, ignore_index=True).assign(model="m"), positive="no")
    turned = audit_groups(other, settings=AuditSettings(draws=0, positive="no"))
    assert turned.calibrations["m"].groups[0].predicted == pytest.approx(found.groups[0].predicted)
