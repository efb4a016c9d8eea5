"""The tables of the audit, on the page and on a terminal.

``short`` makes the table of a terminal: short headings, and without the columns that only the page
has room for.
"""

from collections.abc import Sequence
from typing import Any

from percert.fairness.audit_result import GroupAudit, ModelLine, slope_summaries
from percert.fairness.conclusions import (
    LEVEL,
    TestResult,
    df_text,
    interval_column,
    statistic_columns,
)
from percert.fairness.groups import ACCURACY, GroupTable, OmittedGroup, Outcome
from percert.fairness.intervals import GroupEstimates, Heterogeneity
from percert.fairness.least_squares import COVARIANCES, Covariance
from percert.fairness.regression import Level
from percert.fairness.slope_tests import SlopeComparison
from percert.reports.page import Section
from percert.reports.table import Column, Table, text_of

#: Models of which each line is listed; of more, the distribution of slopes says it all.
LISTED = 12


def lines_table(lines: Sequence[ModelLine], confidence: float, *, short: bool = False) -> Table:
    """Every line given, with its test."""
    columns: list[Column[ModelLine]] = [
        Column("model", lambda entry: entry.model),
        Column("covariance", lambda entry: entry.line.covariance),
        Column("slope", lambda entry: entry.line.slope, "+.4g"),
        interval_column(confidence, lambda entry: entry.line.interval, "+.4g"),
        Column(
            "slope a standard deviation",
            lambda entry: entry.line.per_sd,
            "+.4g",
            short="slope a sd",
        ),
        *statistic_columns("F", lambda entry: entry.line.test),
        Column("R²", lambda entry: entry.line.r2, ".3f", short="R2"),
        Column("τ", lambda entry: entry.line.between, ".4f", missing="", wide=True),
    ]
    return Table.of(
        lines,
        columns,
        "The same line under each covariance of the groups' errors. τ is the estimated spread of "
        "the groups about the line beyond the luck of the draw.",
        short=short,
    )


def slopes_table(audit: GroupAudit, attribute: str, *, short: bool = False) -> Table:
    """The distribution of slopes of every set, for one attribute; short, of several models only."""
    columns: list[Column[dict[str, Any]]] = [
        Column("set", lambda row: row["set"]),
        Column("covariance", lambda row: row["covariance"]),
        Column("models", lambda row: row["models"], "d"),
        Column("mean slope", lambda row: row["mean"], "+.4g"),
        Column("sd", lambda row: row["sd"], ".4g", missing=""),
        Column("min", lambda row: row["min"], "+.4g", wide=True),
        Column("median", lambda row: row["quartiles"][1], "+.4g", wide=True),
        Column("max", lambda row: row["max"], "+.4g", wide=True),
        Column("p, Holm < 0.05", lambda row: row["significant"], ".0%"),
    ]
    return Table.of(
        (
            row
            for row in slope_summaries(audit)
            if row["attribute"] == attribute and not (short and row["models"] == 1)
        ),
        columns,
        f"Slopes of all models on {attribute}, and the share of them whose F-test rejects.",
        short=short,
    )


def comparison_table(comparison: SlopeComparison, *, short: bool = False) -> Table:
    """The three tests side by side."""
    columns: list[Column[TestResult]] = [
        Column("test", lambda test: test.name),
        Column("statistic", lambda test: test.statistic, ".4g"),
        Column("df", lambda test: test.df, df_text),
        Column("p alone", lambda test: test.p_value, ".4g"),
        Column(
            "p that decides",
            lambda test: test.p_adjusted if test is comparison.deciding else None,
            ".4g",
            missing="",
        ),
        Column("effect", lambda test: test.effect, ".4g"),
        Column(
            "interval of the difference", lambda test: test.interval, "+.4g", missing="", wide=True
        ),
    ]
    tests = (comparison.paired, comparison.welch, comparison.permutation)
    return Table.of(
        [test for test in tests if test is not None],
        columns,
        f"Means {comparison.mean[0]:+.4g} ({comparison.name}, sd {comparison.sd[0]:.4g}, "
        f"{comparison.models[0]} models) and {comparison.mean[1]:+.4g} ({comparison.other}, sd "
        f"{comparison.sd[1]:.4g}, {comparison.models[1]} models). Positive statistics: the slopes "
        f"of {comparison.name} are the smaller ones. Effects are Cohen's d, for the permutation "
        "test the difference itself.",
        short=short,
    )


def differences_table(audit: GroupAudit) -> Table:
    """Do the groups of each model differ at all?"""

    def p_value(test: Heterogeneity) -> str:
        return f"{test.p_value:.4g}" + (" (simulated)" if test.by_simulation else "")

    return Table.of(
        [
            (model, found.heterogeneity, found.spread)
            for model, found in list(audit.estimates.items())[:LISTED]
            if found.heterogeneity is not None
        ],
        [
            Column("model", lambda row: row[0]),
            Column("chi-square", lambda row: row[1].statistic, ".4g"),
            Column("df", lambda row: row[1].df, "d"),
            Column("p", lambda row: row[1], p_value),
            Column("spread of true shares", lambda row: row[2], ".4f"),
        ],
        "Whether the groups differ at all, whatever their attribute: Pearson's chi-square of right "
        "and wrong by group (Cochran's Q with the pooled variance). The spread is the estimated "
        "standard deviation of the true shares.",
    )


def difference_words(model: str, found: GroupEstimates, outcome: Outcome = ACCURACY) -> str:
    """Whether one model's groups differ, in a sentence."""
    test, gap = found.heterogeneity, found.difference
    if test is None:
        return f"{outcome.title} of {model} is 1 in every group, or 0 in every one."
    said = (
        f"The groups of {model} "
        f"{'differ' if test.p_value < LEVEL else 'are not shown to differ'} in {outcome.short}: "
        f"chi-square {test.statistic:.4g}, df {test.df}, p = {test.p_value:.4g}"
    )
    if gap is None:
        return f"{said}."
    ends = text_of(gap.interval, "+.4f").replace(" to ", " and ")
    return f"{said}; {gap.second} less {gap.first} is {gap.value:+.4f}, between {ends}."


def groups_table(audit: GroupAudit) -> Table:
    """Every group, in the order of the first attribute, or of the shares where there is none."""
    table, outcome = audit.table, audit.outcome.short
    models = audit.models[audit.sets[0]]
    first, several = models[0], len(models) > 1
    mean = table.accuracy[models].mean(axis=1)
    found = audit.estimates[first]
    place = {group: at for at, group in enumerate(table.n.index)}
    columns: list[Column[Any]] = [
        Column("group", str),
        Column("images", lambda group: int(table.n[group]), ","),
        Column(
            f"mean {outcome}, {len(models)} models" if several else outcome,
            lambda group: mean[group],
            ".4f",
        ),
    ]
    if several:
        columns.append(
            Column(f"{outcome} of {first}", lambda group: table.accuracy[first][group], ".4f")
        )
    columns += [
        interval_column(
            audit.settings.confidence,
            lambda group: (found.lower[place[group]], found.upper[place[group]]),
            ".4f",
        ),
        Column("shrunken", lambda group: found.shrunken[place[group]], ".4f"),
        *attribute_columns(table),
    ]
    caption = (
        f"By {audit.attributes[0] if audit.attributes else outcome}. Intervals (Wilson's) and "
        f"estimates shrunken towards the mean are of {first}."
    )
    by = mean
    if audit.attributes:
        by = table.attributes[audit.attributes[0]]
        cooks = audit.headline(audit.sets[0], audit.attributes[0])[0].line.cooks

        def cook(group: Any) -> str:
            distance = float(cooks[place[group]])
            return f"{distance:.3f}" + (" *" if is_influential(distance, len(cooks)) else "")

        columns.append(Column("Cook's distance", cook, side="right"))
        caption += (
            f" * marks groups whose Cook's distance (of {first}, first covariance) exceeds 4 / "
            "groups: look whether the result hangs on them."
        )
    return Table.of(sorted(table.n.index, key=lambda group: float(by[group])), columns, caption)


def attribute_columns(table: GroupTable) -> list[Column[Any]]:
    """A column for each attribute, of rows that are groups."""

    def column(name: Any) -> Column[Any]:
        return Column(str(name), lambda group: float(table.attributes[name][group]), ".4g")

    return [column(name) for name in table.attributes.columns]


def is_influential(cooks_distance: float, groups: int) -> bool:
    """Whether a group's Cook's distance exceeds the usual 4 / groups."""
    return cooks_distance > 4 / groups


def left_out_table(left_out: Sequence[OmittedGroup]) -> Table:
    """The groups that are in no test, and why."""
    return Table.of(
        left_out,
        [
            Column("group", lambda left: left.group),
            Column("images", lambda left: left.n, ","),
            Column("left out because", lambda left: left.reason),
        ],
        f"{len(left_out)} groups are in no test.",
    )


def covariances_table(names: Sequence[str]) -> Table:
    """What the covariances assume of the groups' errors."""
    columns: list[Column[Covariance]] = [
        Column("covariance", lambda known: known.name),
        Column("formula", lambda known: known.formula),
        Column("assumes that", lambda known: known.assumes),
        Column("but", lambda known: known.caution),
    ]
    return Table.of(
        [known for name, known in COVARIANCES.items() if name in names],
        columns,
        "The first one asked for decides; the others stand beside it.",
    )


def levels_table(levels: Sequence[Level], attribute: str, outcome: Outcome) -> Table:
    """How often each test rejects on these groups where there is nothing to find."""
    return Table.of(
        levels,
        [
            Column("covariance", lambda level: level.covariance),
            Column("false alarms, groups alike", lambda level: level.alike, ".1%"),
            Column("false alarms, groups differing", lambda level: level.differing, ".1%"),
        ],
        f"Of {levels[0].draws:,} draws of groups with these sizes and this {attribute}, in which "
        f"{outcome.words} does not depend on it, the share in which the test rejects at "
        "0.05: it should be 5 %. Alike: all groups have one true share. Differing: their log odds "
        f"have the standard deviation {levels[0].spread:.3g} that was estimated here.",
    )


def covariances_section(audit: GroupAudit) -> Section:
    """The covariances shown, what each assumes, and how often it errs on these groups."""
    levels = (
        levels_table(found, attribute, audit.outcome)
        for attribute, found in audit.levels.items()
        if found
    )
    return Section(
        "What the errors are assumed to be",
        (covariances_table(audit.settings.covariances), *levels),
    )
