"""The audit as a whole, and its report."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.p_values import holm
from percert.fairness.predictions import check_predictions
from percert.fairness.regression import fit_line
from percert.fairness.report import write_report
from percert.fairness.slope_tests import compare_slopes

NAMES = [f"g{place}" for place in range(9)] + ["NA", "<b>"]
GDP = np.linspace(7, 11, len(NAMES))
SETTINGS = AuditSettings(draws=20)


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
            "slope_per_sd",
            "intercept",
            "interval",
            "f",
            "df",
            "p_value",
            "p_holm",
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
    expected = compare_slopes(*slopes, name="ours", other="pgd", paired=True)
    assert audit.comparisons["log_gdp"] == expected
    found = audit.to_dict()
    assert found["comparison"]["paired"]["df"] == [3.0]
    assert found["comparison"]["paired"]["p_value"] == found["comparison"]["p_holm"]
    assert found["models"][0]["model"] == "ours/m0"
    assert found["models"][-1]["model"] == "start/m0"
    summary = {
        row["set"]: row for row in found["details"]["slopes"] if row["covariance"] == "between"
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
        for entry in entries:
            said = f"p = {entry.p_holm:.4g} by Holm's method for 2 tests"
            assert said in entry.line.test.may
            assert entry.line.test.may.startswith("Rejected") == (entry.p_holm < 0.05)
    assert any("Holm" in note for note in audit.notes)


def test_what_is_printed_and_said_follows_the_adjusted_p_value(tmp_path):
    """Nine attributes, of which one would be a finding alone."""
    frame = attributes().assign(**{f"a{i}": np.cos(i * np.arange(11) + i) for i in range(2, 9)})
    audit = audit_groups(predictions(slope=0.01), frame, settings=SETTINGS)
    entry = audit.headline("models", "log_gdp")[0]
    assert entry.line.test.p_value < 0.05 < entry.p_holm
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    lead = page[page.index('class="lead"') :].split("</p>")[0]
    for attribute in frame:
        assert f"not shown to be associated with {attribute}" in lead, attribute
    assert f"p = {entry.p_holm:.4g} by Holm" in lead
    assert "Rejected at the level" not in page.replace("Not rejected at the level", "")


def test_sets_are_paired_by_name_whatever_the_order_of_rows():
    ours, theirs = predictions(4, 0.04, 1), predictions(4, 0.09, 2)
    options = {"names": ("ours", "pgd", "start"), "settings": SETTINGS}
    gdp = attributes()[["log_gdp"]]
    straight = audit_groups(ours, gdp, against=theirs, **options)
    turned = audit_groups(ours, gdp, against=theirs.iloc[::-1].reset_index(drop=True), **options)
    assert straight.comparisons["log_gdp"].paired == turned.comparisons["log_gdp"].paired
    renamed = theirs.assign(model="x" + theirs["model"])
    unpaired = audit_groups(ours, gdp, against=renamed, **options).comparisons["log_gdp"]
    assert unpaired.paired is None
    assert unpaired.deciding is unpaired.welch
    order = AuditSettings(draws=20, pairs="order")
    literal = audit_groups(ours, gdp, against=renamed, names=options["names"], settings=order)
    assert literal.comparisons["log_gdp"].paired.df == (3.0,)
    with pytest.raises(ValueError, match="pairs: expected name, order or none"):
        AuditSettings(pairs="rows")


def test_a_covariance_that_cannot_be_had_stops_nothing_else():
    binary = pd.DataFrame({"coast": (np.arange(11) == 3).astype(float)}, index=NAMES)
    audit = audit_groups(predictions(), binary, settings=SETTINGS)
    assert {entry.line.covariance for entry in audit.lines} == {"between", "paper", "binomial"}
    assert any("one group alone fixes the line" in note for note in audit.notes)
    assert {level.covariance for level in audit.levels["coast"]} == {"between", "paper", "binomial"}
    with pytest.raises(ValueError, match="one group alone"):
        audit_groups(
            predictions(), binary, settings=AuditSettings(covariances=("robust",), draws=20)
        )


def test_each_attribute_has_its_own_picture(tmp_path):
    frame = attributes().rename(columns={"log_gdp": "log gdp", "other": "log-gdp"})
    write_report(audit_groups(predictions(), frame, settings=SETTINGS), tmp_path)
    pictures = {path.name for path in tmp_path.glob("accuracy-by-*.png")}
    assert pictures == {"accuracy-by-log-gdp.png", "accuracy-by-log-gdp-2.png"}


def test_tiny_slopes_keep_their_digits(tmp_path):
    frame = (1e9 * attributes())[["log_gdp"]]
    audit = audit_groups(predictions(), frame, settings=SETTINGS)
    line = audit.lines[0].line
    assert abs(line.slope) < 1e-8
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for number in (line.slope, line.per_sd, line.interval[0]):
        assert f"{number:+.4g}" in page


def test_the_level_of_each_test_on_these_groups_is_reported():
    audit = audit_groups(
        predictions(), attributes()[["log_gdp"]], settings=AuditSettings(draws=1000)
    )
    levels = audit.levels["log_gdp"]
    assert [level.covariance for level in levels] == list(AuditSettings.covariances)
    for level in levels:
        # 1,000 draws know 5 % within 0.7 %; 4 of these. HC3 is careful, and the rest exact.
        assert (0.0 if level.covariance == "robust" else 0.022) <= level.alike <= 0.078
    found = audit.to_dict()["details"]
    assert found["levels"]["log_gdp"][0]["covariance"] == "between"
    estimates = found["estimates"]["m0"]
    assert set(estimates["interval"]) == set(NAMES)
    accuracy = audit.table.accuracy["m0"]
    for group, (low, high) in estimates["interval"].items():
        assert low < accuracy[group] < high
        mean = accuracy.mean()
        assert min(mean, accuracy[group]) - 0.01 <= estimates["shrunken"][group]
        assert estimates["shrunken"][group] <= max(mean, accuracy[group]) + 0.01
    assert audit_groups(predictions(), attributes(), settings=AuditSettings(draws=0)).levels == {}


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
        "accuracy-of-groups.png",
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


def test_without_attributes_the_question_is_whether_groups_differ(tmp_path):
    frame = predictions(2)
    audit = audit_groups(frame, settings=SETTINGS)
    assert (audit.attributes, audit.lines, audit.levels) == ((), (), {})
    found = audit.to_dict()
    assert {row["attribute"] for row in found["groups"]} == {None}
    test = audit.estimates["m0"].heterogeneity
    table = pd.crosstab(frame[frame["model"] == "m0"]["group"], frame["correct"])
    assert test.p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue)
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Do the groups differ?" in page
    assert f"The groups of m0 differ in accuracy: chi-square {test.statistic:.4g}" in page
    assert "Cook" not in page
    with pytest.raises(ValueError, match="sets of models are compared by their slopes"):
        audit_groups(frame, against=frame, settings=SETTINGS)


def test_two_groups_are_compared_with_an_interval(tmp_path):
    frame = predictions()
    frame = frame[frame["group"].isin(["g0", "g8"])]
    audit = audit_groups(frame, attributes(), settings=SETTINGS)
    assert audit.attributes == ()
    assert any("a line through two points has no error" in note for note in audit.notes)
    gap = audit.estimates["m0"].difference
    right = frame.groupby("group")["correct"].sum()
    low, high = confint_proportions_2indep(
        right["g8"], 60, right["g0"], 60, compare="diff", method="newcomb"
    )
    assert (gap.first, gap.second) == ("g0", "g8")
    assert gap.value == pytest.approx((right["g8"] - right["g0"]) / 60)
    assert gap.interval == pytest.approx((low, high), rel=1e-9)
    write_report(audit, tmp_path)
    assert f"g8 less g0 is {gap.value:+.4f}" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="at least 2 to compare, found 1"):
        audit_groups(frame[frame["group"] == "g0"], settings=SETTINGS)
