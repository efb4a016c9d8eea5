"""The usual measures: fairlearn's own functions, loops, and fairlearn's own bootstrap."""

import sys

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_positive_rate,
    true_positive_rate,
)

from percert.fairness.measures import _outcomes, _point, group_measures
from percert.fairness.table import check_predictions


def rows(classes=2, seed=0, count=600, groups=5):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, count)
    group = rng.integers(0, groups, count)
    right = rng.random(count) < 0.55 + 0.08 * group
    prediction = np.where(right, label, rng.integers(0, classes, count))
    return check_predictions(
        pd.DataFrame(
            {
                "model": "m",
                "image": [f"{place}.png" for place in range(count)],
                "group": [f"g{place}" for place in group],
                "label": label,
                "prediction": prediction,
            }
        )
    )


def values(frame, **options):
    return {measure.name: measure for measure in group_measures(frame, draws=0, **options)}


def test_accuracies_are_those_of_a_loop():
    frame = rows(classes=4)
    accuracy = {name: group["correct"].mean() for name, group in frame.groupby("group")}
    found = values(frame)
    assert found["worst_group_accuracy"].value == pytest.approx(min(accuracy.values()))
    assert found["worst_group_accuracy"].group == min(accuracy, key=accuracy.get)
    lowest, highest = min(accuracy.values()), max(accuracy.values())
    assert found["accuracy_gap"].value == pytest.approx(highest - lowest)
    assert found["accuracy_ratio"].value == pytest.approx(lowest / highest)


def test_odds_of_two_classes_are_fairlearns():
    frame = rows()
    label, prediction = frame["label"].astype(int), frame["prediction"].astype(int)
    expected = equalized_odds_difference(label, prediction, sensitive_features=frame["group"])
    assert values(frame)["equalized_odds_difference"].value == pytest.approx(expected)
    theirs = MetricFrame(
        metrics={"tpr": true_positive_rate, "fpr": false_positive_rate},
        y_true=label,
        y_pred=prediction,
        sensitive_features=frame["group"],
    ).difference()
    assert values(frame)["true_positive_rate_gap"].value == pytest.approx(theirs["tpr"])
    assert values(frame)["false_positive_rate_gap"].value == pytest.approx(theirs["fpr"])


def test_odds_of_more_classes_are_the_mean_of_each_against_the_rest():
    frame = rows(classes=4)
    rates = {"tpr": [], "fpr": []}
    for _, group in frame.groupby("group"):
        each = {"tpr": [], "fpr": []}
        for kind in "0123":
            mine = group["label"] == kind
            each["tpr"].append((group["prediction"][mine] == kind).mean())
            each["fpr"].append((group["prediction"][~mine] == kind).mean())
        for name in rates:
            rates[name].append(np.mean(each[name]))
    gaps = {name: np.ptp(found) for name, found in rates.items()}
    found = values(frame)
    assert found["true_positive_rate_gap"].value == pytest.approx(gaps["tpr"])
    assert found["false_positive_rate_gap"].value == pytest.approx(gaps["fpr"])
    assert found["equalized_odds_difference"].value == pytest.approx(max(gaps.values()))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_what_is_resampled_is_what_fairlearn_measures(classes):
    frame = rows(classes=max(classes, 2))
    if not classes:
        frame = frame.drop(columns=["label", "prediction"])
    theirs, worst = _point(*_outcomes(frame))
    found = values(frame)
    assert found.keys() == theirs.keys()
    for name, value in theirs.items():
        assert found[name].value == pytest.approx(value, rel=1e-12), name
    assert found["worst_group_accuracy"].group == worst


def test_fairlearn_is_asked_only_for_values_with_intervals(monkeypatch):
    frame = rows(count=100)
    expected = {m.name: m.value for m in group_measures(frame, draws=1)}
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    assert {m.name: m.value for m in group_measures(frame, draws=0)} == pytest.approx(expected)
    with pytest.raises(ImportError):
        group_measures(frame, draws=1)


def test_intervals_are_about_those_of_fairlearns_bootstrap():
    frame = rows(count=600, groups=3)
    theirs = MetricFrame(
        metrics=lambda label, prediction: float(np.mean(np.asarray(label) == prediction)),
        y_true=frame["label"].to_numpy(),
        y_pred=frame["prediction"].to_numpy(),
        sensitive_features=frame["group"],
        n_boot=30,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )
    expected = [float(np.ravel(end)[0]) for end in theirs.group_min_ci()]
    ours = next(m for m in group_measures(frame, draws=400) if m.name == "worst_group_accuracy")
    # The ends of 30 draws are off by about 0.4 of the standard error, which is 0.035.
    assert ours.interval == pytest.approx(expected, abs=0.04)
    assert ours.interval[0] < ours.value < ours.interval[1]


def test_without_labels_there_is_accuracy_alone():
    frame = rows()[["model", "image", "group", "correct"]]
    assert list(values(frame)) == ["worst_group_accuracy", "accuracy_gap", "accuracy_ratio"]
    assert values(frame)["accuracy_gap"].value == values(rows())["accuracy_gap"].value


def test_a_group_without_a_class_is_left_out_of_its_rates():
    frame = rows()
    frame = frame[(frame["group"] != "g0") | (frame["label"] == "0")]
    found = {m.name: m for m in group_measures(frame, draws=20)}
    assert np.isfinite(found["true_positive_rate_gap"].value)
    assert np.isfinite(found["equalized_odds_difference"].interval).all()


def test_the_seed_decides():
    frame = rows()
    assert group_measures(frame, draws=20, seed=1) == group_measures(frame, draws=20, seed=1)
    assert group_measures(frame, draws=20, seed=1) != group_measures(frame, draws=20, seed=2)
