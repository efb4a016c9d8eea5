"""The audit as a whole, and its report."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from percert.fairness.audit import AuditSettings, audit_groups, holm
from percert.fairness.compare import compare_slopes
from percert.fairness.line import fit_line
from percert.fairness.report import write_report
from percert.fairness.table import check_predictions

NAMES = [f"g{place}" for place in range(9)] + ["NA", "<b>"]
GDP = np.linspace(7, 11, len(NAMES))
SETTINGS = AuditSettings(draws=20)
FIELDS = ("model", "slope", "intercept", "interval", "f", "df", "p_value", "null", "covariance")


def predictions(models=1, slope=0.08, seed=0, images=60):
    rng = np.random.default_rng(seed)
    rows = []
    for model in range(models):
        for name, gdp in zip(NAMES, GDP, strict=True):
            right = rng.random(images) < 0.6 + slope * (gdp - 9)
            rows += [(f"m{model}", f"{name}/{i}", name, int(ok)) for i, ok in enumerate(right)]
    return check_predictions(pd.DataFrame(rows, columns=["model", "image", "group", "correct"]))


def attributes():
    other = np.cos(np.arange(len(NAMES)))
    return pd.DataFrame({"log_gdp": GDP, "other": other}, index=NAMES)


def test_a_model_gets_the_lines_of_its_groups():
    frame = predictions()
    audit = audit_groups(frame, attributes()[["log_gdp"]], settings=SETTINGS)
    accuracy = frame.groupby("group")["correct"].mean()[sorted(NAMES)].to_numpy()
    gdp = attributes()["log_gdp"][sorted(NAMES)].to_numpy()
    found = audit.to_dict()
    assert [row["covariance"] for row in found["models"]] == list(SETTINGS.covariances)
    for row in found["models"]:
        line = fit_line(accuracy, gdp, np.full(11, 60.0), covariance=row["covariance"])
        assert row["slope"] == pytest.approx(line.slope)
        assert row["p_value"] == pytest.approx(line.test.p_value)
        assert set(row) == {
            "model",
            "slope",
            "intercept",
            "interval",
            "f",
            "df",
            "p_value",
            "null",
            "covariance",
        }
    assert set(found["groups"][0]) == {"group", "n", "accuracy", "attribute"}
    assert [row["accuracy"] for row in found["groups"]] == pytest.approx(accuracy.tolist())
    assert found["left_out"] == []
    assert found["comparison"] == {}
    json.dumps(found, allow_nan=False)


def test_two_sets_are_compared_by_their_slopes():
    ours, theirs = predictions(4, 0.04, 1), predictions(4, 0.09, 2)
    start = predictions(1, 0.1, 3)
    audit = audit_groups(
        ours,
        attributes()[["log_gdp"]],
        against=theirs,
        pretrained=start,
        names=("ours", "pgd", "start"),
        settings=SETTINGS,
    )
    slopes = [
        np.array([entry.line.slope for entry in audit.headline(name, "log_gdp")])
        for name in ("ours", "pgd")
    ]
    expected = compare_slopes(*slopes, name="ours", other="pgd")
    assert audit.comparisons["log_gdp"] == expected
    found = audit.to_dict()
    assert found["comparison"]["paired"]["df"] == [3.0]
    assert found["comparison"]["paired"]["p_value"] == found["comparison"]["p_holm"]
    assert found["models"][0]["model"] == "ours/m0"
    assert found["models"][-1]["model"] == "start/m0"
    summary = {
        row["set"]: row for row in found["details"]["slopes"] if row["covariance"] == "paper"
    }
    assert summary["pgd"]["mean"] == pytest.approx(slopes[1].mean())
    assert summary["start"]["models"] == 1
    # The groups' accuracy is the mean over the first set alone.
    mean = ours.groupby("group")["correct"].mean()
    assert {row["group"]: row["accuracy"] for row in found["groups"]} == pytest.approx(
        mean.to_dict()
    )


def test_several_attributes_are_adjusted_for():
    audit = audit_groups(predictions(), attributes(), settings=SETTINGS)
    by_hand = {}
    for entry in audit.lines:
        by_hand.setdefault(entry.line.covariance, []).append(entry)
    for entries in by_hand.values():
        raw = sorted(entry.line.test.p_value for entry in entries)
        adjusted = sorted(entry.p_holm for entry in entries)
        assert adjusted[0] == pytest.approx(min(1, 2 * raw[0]))
        assert adjusted[1] == pytest.approx(max(adjusted[0], raw[1]))
    assert any("Holm" in note for note in audit.notes)


@pytest.mark.parametrize("p_values", [[0.2], [0.04, 0.01, 0.04, 0.9], [0.5, 0.5, 0.0, 1.0]])
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_nothing_to_adjust():
    assert holm([]) == []


def test_other_images_in_the_second_set_are_refused():
    with pytest.raises(ValueError, match="other images"):
        audit_groups(
            predictions(2), attributes(), against=predictions(2, images=61), settings=SETTINGS
        )
    with pytest.raises(ValueError, match="different names"):
        audit_groups(predictions(2), attributes(), against=predictions(2), names=("a", "a", "b"))


def test_an_error_of_the_line_names_the_model():
    constant = attributes().assign(log_gdp=1.0)
    with pytest.raises(ValueError, match="model 'm0', log_gdp: attribute: every group has 1"):
        audit_groups(predictions(), constant, settings=SETTINGS)


@pytest.mark.parametrize(
    "options", [{"smallest": 0}, {"confidence": 1.0}, {"covariances": ()}], ids=str
)
def test_settings_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AuditSettings(**options)


def test_the_report_is_one_page_with_everything_in_it(tmp_path):
    audit = audit_groups(
        predictions(2, 0.04, 1),
        attributes(),
        against=predictions(2, 0.09, 2),
        pretrained=predictions(1, 0.1, 3),
        names=("ours", "pgd", "start"),
        settings=SETTINGS,
    )
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == [
        "accuracy-by-log-gdp.png",
        "accuracy-by-other.png",
        "share-of-images.png",
        "slopes-on-log-gdp.png",
        "slopes-on-other.png",
    ]
    assert page.count("data:image/png;base64,") == len(pictures)
    # Nothing is fetched from anywhere, and a group's name is no HTML.
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    for said in ("Null hypothesis", "What may not", "Cook", "Holm", "Welch", "left out", "pgd"):
        assert said in page
    for covariance in SETTINGS.covariances:
        assert covariance in page
