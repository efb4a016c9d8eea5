"""The usual measures: fairlearn's own functions, loops, and how often intervals hold the truth."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_positive_rate,
    true_positive_rate,
)

from percert.fairness.measures import group_measures
from percert.fairness.predictions import check_predictions


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
def test_the_accuracies_are_fairlearns(classes):
    frame = rows(classes=max(classes, 2))
    if not classes:
        frame = frame.drop(columns=["label", "prediction"])
    theirs = MetricFrame(
        metrics={"accuracy": lambda right, _: float(np.mean(right))},
        y_true=frame["correct"],
        y_pred=frame["correct"],
        sensitive_features=frame["group"],
    )
    found = values(frame)
    assert found["worst_group_accuracy"].value == pytest.approx(theirs.group_min()["accuracy"])
    assert found["worst_group_accuracy"].group == theirs.by_group["accuracy"].idxmin()
    assert found["accuracy_gap"].value == pytest.approx(theirs.difference()["accuracy"])
    assert found["accuracy_ratio"].value == pytest.approx(theirs.ratio()["accuracy"])


def drawn(rng, sizes, shares, classes):
    """One sample of predictions, and each measure's true value."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    label = rng.integers(0, classes, len(group))
    right = rng.random(len(group)) < np.asarray(shares)[group]
    other = (label + rng.integers(1, classes, len(group))) % classes
    return check_predictions(
        pd.DataFrame(
            {
                "model": "m",
                "image": np.arange(len(group)),
                "group": group,
                "label": label,
                "prediction": np.where(right, label, other),
            }
        )
    )


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sizes", [[20, 30, 500], [60] * 20], ids=["few", "many"])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_intervals_hold_the_truth(classes, sizes, spread):
    """The bootstrap's held it in none to a quarter of all samples."""
    rng = np.random.default_rng(0)
    shares = np.clip(0.9 - spread * rng.random(len(sizes)), 0, 1)
    # Every class has the group's accuracy; a wrong answer is any other class alike.
    gap = np.ptp(shares)
    truth = {
        "worst_group_accuracy": shares.min(),
        "accuracy_gap": gap,
        "accuracy_ratio": shares.min() / shares.max(),
        "true_positive_rate_gap": gap,
        "false_positive_rate_gap": gap / (classes - 1),
        "equalized_odds_difference": gap,
    }
    draws = 200
    covered = dict.fromkeys(truth, 0)
    for _ in range(draws):
        for measure in group_measures(drawn(rng, sizes, shares, classes), draws=0):
            low, high = measure.interval
            covered[measure.name] += low <= truth[measure.name] <= high
    # 94 % of 200 draws are 188; a coverage of 95 % has less in 1 of 1,000 samples below 179.
    assert min(covered.values()) >= 179, covered


def test_what_chance_shows_is_said_beside_the_value():
    rng = np.random.default_rng(0)
    alike = drawn(rng, [40] * 30, [0.8] * 30, 2)
    found = {measure.name: measure for measure in group_measures(alike)}
    gaps = [np.ptp(rng.binomial(40, 0.8, 30) / 40) for _ in range(2000)]
    assert found["accuracy_gap"].by_chance == pytest.approx(np.mean(gaps), abs=0.01)
    assert found["accuracy_gap"].interval[0] == 0
    assert found["worst_group_accuracy"].candidates > 5
    assert found["worst_group_accuracy"].by_chance < 0.7
    assert {m.by_chance for m in group_measures(alike, draws=0)} == {None}


def test_a_million_rows_take_no_loop():
    rng = np.random.default_rng(0)
    count = 1_000_000
    frame = pd.DataFrame(
        {"group": rng.integers(0, 100, count).astype(str), "correct": rng.integers(0, 2, count)}
    )
    found = {measure.name: measure for measure in group_measures(frame)}
    low, high = found["worst_group_accuracy"].interval
    assert low < 0.5 < high


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
