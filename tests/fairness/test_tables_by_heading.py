"""Every table of the audit of groups says under each heading what was computed of that name.

All values differ, so that no two columns, rows or names can change places unseen.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.reports.tables import said, tables_of

from percert.cli import audit_groups_show
from percert.fairness.audit_result import AuditSettings, GroupAudit, ModelLine
from percert.fairness.conclusions import (
    TestResult as Result,  # pytest collects what begins with Test
)
from percert.fairness.equivalence import Resolution
from percert.fairness.groups import GroupTable, OmittedGroup
from percert.fairness.intervals import Difference, GroupEstimates, Heterogeneity
from percert.fairness.least_squares import COVARIANCES
from percert.fairness.measures import Measure
from percert.fairness.mixed_logistic import MixedLogistic, mixed_table
from percert.fairness.regression import GroupLine, Level
from percert.fairness.report_sections import groups_section, measures_section, resolutions_section
from percert.fairness.report_tables import (
    comparison_table,
    covariances_section,
    difference_words,
    differences_table,
    lines_table,
    slopes_table,
)
from percert.fairness.slope_tests import Power, SlopeComparison

FIRST, SECOND = list(COVARIANCES)[:2]


def result(name, start, interval=(-0.25, 0.35)):
    return Result(
        name=name, statistic=start + 0.1, df=(1, start + 30), p_value=start / 100,
        p_adjusted=start / 10,
        effect=start + 0.4, effect_name="slope", interval=interval, null="null", may="may",
        may_not="may not",
    )  # fmt: skip


def line(model, slope, covariance=FIRST, p_holm=0.77):
    fitted = GroupLine(
        covariance=covariance, slope=slope, per_sd=slope + 5, intercept=0.9,
        interval=(slope - 1, slope + 2), r2=0.66,
        test=result("F", 3.0).adjusted(p_holm, "may"), cooks=np.array([0.125, 0.5]), between=0.0444,
    )  # fmt: skip
    return ModelLine(model, "ours", "gdp", fitted)


@pytest.fixture(scope="module")
def audit():
    groups = pd.Index(["DEU", "FRA"], name="group")
    table = GroupTable(
        n=pd.Series([1200, 34], groups),
        accuracy=pd.DataFrame({"a": [0.81, 0.62], "b": [0.71, 0.52]}, groups),
        attributes=pd.DataFrame({"gdp": [9.5, 8.25]}, groups),
        left_out=(OmittedGroup("ITA", 7, "fewer than 10 images"),),
    )
    measure = Measure(
        "worst_group_accuracy", 0.62, (0.51, 0.73), None, 0.58, "FRA", 2, "the lowest"
    )
    estimates = {
        model: GroupEstimates(
            np.array([0.11, 0.22]) + start, np.array([0.33, 0.44]) + start,
            np.array([0.55, 0.66]) + start, 0.077 + start,
            Heterogeneity(12.5 + start, 1, 0.03 + start, False),
            Difference("DEU", "FRA", -0.19 + start, (-0.25 + start, -0.05 + start)),
        )
        for model, start in (("a", 0.0), ("b", 0.001))
    }  # fmt: skip
    return GroupAudit(
        table=table,
        models={"ours": ["a", "b"]},
        attributes=("gdp",),
        lines=(line("a", 0.1), line("b", 0.3, p_holm=0.01)),
        comparisons={},
        measures={"a": [measure]},
        estimates=estimates,
        levels={"gdp": [Level(FIRST, 0.045, 0.055, 0.31, 2000)]},
        notes=(),
        settings=AuditSettings(covariances=(FIRST,)),
    )


@pytest.fixture(scope="module")
def comparison():
    return SlopeComparison(
        name="ours", other="theirs", models=(5, 6), mean=(0.1, 0.2), sd=(0.3, 0.4),
        magnitude=False, paired=result("paired t", 1.0), welch=result("Welch", 2.0, (0.5, 0.75)),
        permutation=result("permutation", 3.0, None),
        power=Power(**dict.fromkeys(Power.__dataclass_fields__, 0.5)),
    )  # fmt: skip


LINE = {
    "model": "a", "covariance": FIRST, "slope": "+0.1", "F": "3.1", "df": "1, 33",
    "p alone": "0.03", "p, Holm": "0.77",
}  # fmt: skip


def test_lines(audit):
    first, second = said(lines_table(audit.lines, 0.95))
    assert first == LINE | {
        "95% interval": "-0.9 to +2.1", "slope a standard deviation": "+5.1", "R²": "0.660",
        "τ": "0.0444",
    }  # fmt: skip
    assert (second["model"], second["slope"], second["p, Holm"]) == ("b", "+0.3", "0.01")


def test_slopes(audit):
    assert said(slopes_table(audit, "gdp")) == [
        {"set": "ours", "covariance": FIRST, "models": "2", "mean slope": "+0.2",
         "sd": "0.1414", "min": "+0.1", "median": "+0.2", "max": "+0.3",
         "p, Holm < 0.05": "50%"}
    ]  # fmt: skip


TESTS = [
    {
        "test": "paired t",
        "statistic": "1.1",
        "df": "1, 31",
        "p alone": "0.01",
        "p that decides": "0.1",
    },
    {"test": "Welch", "statistic": "2.1", "df": "1, 32", "p alone": "0.02", "p that decides": ""},
    {
        "test": "permutation",
        "statistic": "3.1",
        "df": "1, 33",
        "p alone": "0.03",
        "p that decides": "",
    },
]


def test_comparison(comparison):
    table = comparison_table(comparison)
    effects = ["1.4", "2.4", "3.4"]
    intervals = ["-0.25 to +0.35", "+0.5 to +0.75", ""]
    assert said(table) == [
        test | {"effect": effect, "interval of the difference": interval}
        for test, effect, interval in zip(TESTS, effects, intervals, strict=True)
    ]
    assert "Means +0.1 (ours, sd 0.3, 5 models) and +0.2 (theirs" in table.caption


def test_measures(audit):
    assert said(tables_of([measures_section(audit)])[0]) == [
        {"model": "a", "measure": "worst group accuracy (FRA)", "value": "0.6200",
         "95% interval": "0.5100 to 0.7300", "by chance, if all were alike": "0.5800",
         "what it is": "the lowest; 2 groups may be the one"}
    ]  # fmt: skip


def test_covariances(audit):
    known = COVARIANCES[FIRST]
    choices, levels = map(said, tables_of([covariances_section(audit)]))
    assert choices == [
        {"covariance": FIRST, "formula": known.formula, "assumes that": known.assumes,
         "but": known.caution}
    ]  # fmt: skip
    assert levels == [
        {"covariance": FIRST, "false alarms, groups alike": "4.5%",
         "false alarms, groups differing": "5.5%"}
    ]  # fmt: skip


def test_differences(audit):
    assert said(differences_table(audit)) == [
        {"model": "a", "chi-square": "12.5", "df": "1", "p": "0.03",
         "spread of true shares": "0.0770"},
        {"model": "b", "chi-square": "12.5", "df": "1", "p": "0.031",
         "spread of true shares": "0.0780"},
    ]  # fmt: skip
    assert difference_words("a", audit.estimates["a"]) == (
        "The groups of a differ in accuracy: chi-square 12.5, df 1, p = 0.03; FRA less DEU is "
        "-0.1900, between -0.2500 and -0.0500."
    )


def test_mixed():
    fit = MixedLogistic(
        "a", "gdp", 0.31, 0.07, (0.11, 0.51), 1.45, -0.9, 0.222, -800.0, result("t", 3.0)
    )
    assert said(mixed_table([fit], 0.95)) == [
        {"model": "a", "slope of log odds": "+0.31", "95% interval": "+0.11 to +0.51",
         "odds ratio a standard deviation": "1.45", "t": "3.1", "df": "1", "p alone": "0.03",
         "p, Holm": "0.3", "spread of groups": "0.2220"}
    ]  # fmt: skip


def test_resolutions(audit):
    entries = (
        Resolution("a", None, 0.19, 0.21, 0.28, result("pairs", 1.0)),
        Resolution("a", "gdp", 0.12, 0.13, 0.14, result("slope", 2.0)),
    )
    settings = replace(audit.settings, margin=0.25)
    shown = replace(audit, resolutions=entries, settings=settings)
    (table,) = map(said, tables_of([resolutions_section(shown)]))
    assert table == [
        {"model": "a", "of": "all groups", "difference seen": "0.1900",
         "shown to be within": "0.2800", "p, fair within 0.25": "0.1",
         "least difference detectable": "0.2100"},
        {"model": "a", "of": "the line on gdp", "difference seen": "0.1200",
         "shown to be within": "0.1400", "p, fair within 0.25": "0.2",
         "least difference detectable": "0.1300"},
    ]  # fmt: skip


def testgroups_section(audit):
    groups, differ, left_out = map(said, tables_of([groups_section(audit, None)]))
    assert differ == said(differences_table(audit))
    assert groups == [  # by the attribute
        {"group": "FRA", "images": "34", "mean accuracy, 2 models": "0.5700",
         "accuracy of a": "0.6200", "95% interval": "0.2200 to 0.4400", "shrunken": "0.6600",
         "gdp": "8.25", "Cook's distance": "0.500"},
        {"group": "DEU", "images": "1,200", "mean accuracy, 2 models": "0.7600",
         "accuracy of a": "0.8100", "95% interval": "0.1100 to 0.3300", "shrunken": "0.5500",
         "gdp": "9.5", "Cook's distance": "0.125"},
    ]  # fmt: skip
    assert left_out == [{"group": "ITA", "images": "7", "left out because": "fewer than 10 images"}]


def test_the_terminal(audit, comparison, monkeypatch):
    tables = []
    monkeypatch.setattr(audit_groups_show, "show_table", lambda table: tables.append(said(table)))
    seen = (Resolution("a", None, 0.19, 0.21, 0.28, None),)
    shown = replace(audit, comparisons={"gdp": comparison}, resolutions=seen)
    audit_groups_show.show_audit(shown)
    groups, lines, slopes, tests, measures, resolutions = tables
    assert resolutions == [
        {"model": "a", "of": "all groups", "difference seen": "0.1900",
         "shown to be within": "0.2800", "least detectable": "0.2100"}
    ]  # fmt: skip
    assert groups == [
        {"group": "DEU", "n": "1200", "gdp": "9.5", "a": "0.8100", "b": "0.7100"},
        {"group": "FRA", "n": "34", "gdp": "8.25", "a": "0.6200", "b": "0.5200"},
    ]
    assert lines[0] == LINE | {
        "interval": "-0.9 to +2.1", "slope a sd": "+5.1", "R2": "0.660"
    }  # fmt: skip
    assert slopes == [
        {"set": "ours", "covariance": FIRST, "models": "2", "mean slope": "+0.2",
         "sd": "0.1414", "p, Holm < 0.05": "50%"}
    ]  # fmt: skip
    assert tests == [
        test | {"effect": effect} for test, effect in zip(TESTS, ["1.4", "2.4", "3.4"], strict=True)
    ]
    assert measures == [
        {"model": "a", "measure": "worst_group_accuracy (FRA)", "value": "0.6200",
         "interval": "0.5100 to 0.7300", "by chance, if all were alike": "0.5800"}
    ]  # fmt: skip
