"""Other outcomes than accuracy: rates of the positive class, and columns of 0 and 1."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.predictions import check_predictions
from percert.fairness.report import write_report

RATES = {
    "true-positive-rate": true_positive_rate,
    "false-positive-rate": false_positive_rate,
    "selection-rate": selection_rate,
}


def decisions(classes=("no", "yes"), groups=4, images=120, seed=0):
    rng = np.random.default_rng(seed)
    count = groups * images
    label = rng.choice(classes, count)
    prediction = np.where(rng.random(count) < 0.7, label, rng.choice(classes, count))
    return pd.DataFrame(
        {
            "image": np.arange(count).astype(str),
            "group": np.repeat([f"g{place}" for place in range(groups)], images),
            "label": label,
            "prediction": prediction,
            "approved": rng.integers(0, 2, count),
        }
    ).assign(model="m")


def audited(frame, outcome, positive=None, attributes=None):
    settings = AuditSettings(smallest=1, draws=20, outcome=outcome, positive=positive)
    table = check_predictions(frame, outcome=outcome, positive=positive)
    return audit_groups(table, attributes, settings=settings)


@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize("outcome", RATES)
def test_rates_are_those_of_fairlearn(outcome, positive):
    frame = decisions()
    found = audited(frame, outcome, positive)
    oracle = MetricFrame(
        metrics=lambda y, p: RATES[outcome](y, p, pos_label=positive),
        y_true=frame["label"],
        y_pred=frame["prediction"],
        sensitive_features=frame["group"],
    )
    key = outcome.replace("-", "_")
    rows = {row["group"]: row[key] for row in found.to_dict()["groups"]}
    assert rows == pytest.approx(oracle.by_group.to_dict())
    by_name = {measure.name: measure for measure in found.measures["m"]}
    assert by_name[f"{key}_gap"].value == pytest.approx(oracle.difference())
    assert by_name[f"{key}_ratio"].value == pytest.approx(oracle.ratio())
    assert len(by_name) == len(found.measures["m"])
    asked = frame
    if outcome != "selection-rate":
        asked = frame[(frame["label"] == positive) == (outcome == "true-positive-rate")]
    assert found.table.n.to_dict() == asked["group"].value_counts().to_dict()
    assert any(f"The class {positive} counts as positive" in note for note in found.notes)


def test_demographic_parity_is_the_gap_of_the_selection_rate():
    frame = decisions()
    found = {m.name: m.value for m in audited(frame, "selection-rate").measures["m"]}
    given = {
        "y_true": frame["label"] == "yes",
        "y_pred": frame["prediction"] == "yes",
        "sensitive_features": frame["group"],
    }
    assert found["selection_rate_gap"] == pytest.approx(demographic_parity_difference(**given))
    assert found["selection_rate_ratio"] == pytest.approx(demographic_parity_ratio(**given))


def test_the_other_class_turns_rates_around():
    """P(predicted yes | labelled yes) = 1 - P(predicted no | labelled yes)."""
    frame = decisions()
    ours = audited(frame, "true-positive-rate", "yes").table.accuracy["m"]
    theirs = audited(frame, "false-positive-rate", "no").table.accuracy["m"]
    np.testing.assert_allclose(ours, 1 - theirs)


def test_a_column_of_its_own_is_an_outcome():
    frame = decisions()
    attributes = pd.DataFrame({"income": [1.0, 2.0, 3.0, 5.0]}, index=[f"g{p}" for p in range(4)])
    found = audited(frame.drop(columns=["label", "prediction"]), "approved", None, attributes)
    expected = frame.groupby("group")["approved"].mean()
    np.testing.assert_allclose(found.table.accuracy["m"], expected)
    test = found.lines[0].line.test
    assert test.null.startswith("Across the groups, the share of approved does not depend")
    assert "approved" in test.may
    assert "accuracy" not in test.may + test.null


def test_probabilities_are_decided_at_a_threshold():
    frame = decisions()
    sure = np.random.default_rng(1).random(len(frame))
    frame = frame.drop(columns="prediction").assign(probability=sure)
    table = check_predictions(frame, threshold=0.3)
    assert table["prediction"].tolist() == np.where(sure >= 0.3, "yes", "no").tolist()
    table = check_predictions(frame, positive="no")
    assert table["prediction"].tolist() == np.where(sure >= 0.5, "no", "yes").tolist()
    unlabelled = frame.drop(columns=["label", "approved"])
    table = check_predictions(unlabelled, outcome="selection-rate", threshold=0.3)
    settings = AuditSettings(outcome="selection-rate", draws=0)
    rates = audit_groups(table, settings=settings).table.accuracy["m"].to_numpy()
    np.testing.assert_allclose(rates, (sure.reshape(4, -1) >= 0.3).mean(1))


def test_one_class_of_many_stands_against_the_rest():
    frame = decisions(("a", "b", "c"))
    found = audited(frame, "true-positive-rate", "b").table.accuracy["m"]
    asked = frame[frame["label"] == "b"]
    np.testing.assert_allclose(found, (asked["prediction"] == "b").groupby(asked["group"]).mean())


def test_a_group_that_is_not_asked_is_listed():
    frame = decisions()
    frame.loc[frame["group"] == "g2", "label"] = "no"
    left = audited(frame, "true-positive-rate").table.left_out
    assert [(entry.group, entry.n) for entry in left] == [("g2", 0)]


@pytest.mark.parametrize(
    ("frame", "outcome", "positive", "said"),
    [
        (decisions(("a", "b", "c")), "selection-rate", None, "3 classes"),
        (decisions(), "selection-rate", "maybe", "expected one of the classes no, yes"),
        (decisions(), "recall", None, "no column 'recall'"),
        (decisions().assign(approved=2), "approved", None, "approved: expected 0 or 1"),
        (decisions().drop(columns="label"), "true-positive-rate", None, "no column 'label'"),
        (decisions(), "approved", "yes", "which class is positive"),
        (
            decisions().drop(columns="prediction").assign(probability=1.5),
            "accuracy",
            None,
            "expected numbers in [0, 1]",
        ),
        (
            decisions(("a", "b", "c")).drop(columns="prediction").assign(probability=0.5),
            "accuracy",
            None,
            "label has 3",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_outcome_is_refused(frame, outcome, positive, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[").replace("]", r"\]")):
        audited(frame, outcome, positive)


def test_the_report_speaks_of_the_outcome(tmp_path):
    pytest.importorskip("matplotlib")
    attributes = pd.DataFrame({"income": [1.0, 2.0, 3.0, 5.0]}, index=[f"g{p}" for p in range(4)])
    write_report(audited(decisions(), "selection-rate", None, attributes), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Does the selection rate depend on income?" in page
    assert "accuracy" not in page.lower().split("what the errors are assumed to be")[0]
    assert (tmp_path / "selection-rate-by-income.png").is_file()
