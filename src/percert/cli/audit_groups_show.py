"""The audit of groups on a terminal."""

from typing import TYPE_CHECKING, Any

from percert.cli.output import say, show_table
from percert.fairness.calibration import calibration_table
from percert.fairness.drift import drift_table, drifts
from percert.fairness.equivalence import resolutions_table
from percert.fairness.joint_report import joint_summary, mix_table, mix_words
from percert.fairness.joint_words import categories_table, joint_table
from percert.fairness.measures import measures_table
from percert.fairness.mixed_logistic import mixed_table
from percert.fairness.report_tables import (
    LISTED,
    attribute_columns,
    comparison_table,
    difference_words,
    lines_table,
    slopes_table,
)
from percert.fairness.resampling import generality_table
from percert.fairness.versions import versions_table
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.fairness.audit_result import GroupAudit
    from percert.fairness.conclusions import TestResult


def show_audit(audit: "GroupAudit") -> None:
    """The groups, the lines, the comparison, and what may be concluded from them."""
    if audit.outcome.name != "accuracy":
        say(f"{audit.outcome.title}: {audit.outcome.meaning}.", style="bold")
        say("")
    _show_groups(audit)
    for attribute in audit.attributes:
        _show_attribute(audit, attribute)
    for note in audit.notes:
        say("")
        say(note)
    _show_joint(audit)
    for attribute, comparison in audit.comparisons.items():
        say("")
        say(f"{comparison.name} against {comparison.other}: slopes on {attribute}", style="bold")
        show_table(comparison_table(comparison, short=True))
        _show_words(comparison.deciding)
    if audit.generality:
        say("")
        show_table(generality_table(audit.generality, audit.settings.confidence, short=True))
        for entry in audit.generality:
            say(entry.words)
    for found in list(audit.calibrations.values())[:LISTED]:
        say("")
        say(f"Probabilities of {found.model} by group", style="bold")
        show_table(calibration_table(found, audit.settings.confidence, short=True))
        say(found.words)
    _show_versions(audit)
    if len(audit.measures) <= LISTED:
        _show_measures(audit)
        _show_resolutions(audit)


def _show_groups(audit: "GroupAudit") -> None:
    table = audit.table
    models = list(table.accuracy.columns)
    mean = table.accuracy.mean(axis=1)
    columns: list[Column[Any]] = [
        Column("group", str),
        Column("n", lambda group: int(table.n[group]), "d"),
        *attribute_columns(table),
    ]
    if len(models) <= 3:
        columns += [_accuracy_column(audit, model) for model in models]
    else:
        columns.append(Column(f"mean {audit.outcome.short}", lambda group: mean[group], ".4f"))
    if len(models) == 1:
        found = audit.estimates[models[0]]
        place = {group: at for at, group in enumerate(table.n.index)}
        columns += [
            Column(
                "interval",
                lambda group: (found.lower[place[group]], found.upper[place[group]]),
                ".4f",
            ),
            Column("shrunken", lambda group: found.shrunken[place[group]], ".4f"),
        ]
    show_table(Table.of(table.n.index, columns))
    say("")
    for model in models[:LISTED]:
        say(difference_words(model, audit.estimates[model], audit.outcome))
    if table.left_out:
        say("")
        left = ", ".join(f"{entry.group} ({entry.n}: {entry.reason})" for entry in table.left_out)
        say(f"Left out, {len(table.left_out)} groups: {left}")


def _accuracy_column(audit: "GroupAudit", model: str) -> Column[Any]:
    return Column(str(model), lambda group: audit.table.accuracy[model][group], ".4f")


def _show_attribute(audit: "GroupAudit", attribute: str) -> None:
    say("")
    say(f"{audit.outcome.title} and {attribute}", style="bold")
    lines = [line for line in audit.lines if line.attribute == attribute]
    if len({line.model for line in lines}) <= LISTED:
        show_table(lines_table(lines, audit.settings.confidence, short=True))
        if mixed := [fit for fit in audit.mixed if fit.attribute == attribute]:
            say("")
            say("Beside it, mixed-effects logistic regression of the images by group:")
            show_table(mixed_table(mixed, audit.settings.confidence, short=True))
    slopes = slopes_table(audit, attribute, short=True)
    if slopes.rows:
        say("")
        show_table(slopes)
    levels = audit.levels.get(attribute, [])
    if levels:
        say("")
        say(
            "False alarms of each test on groups like these, where 5 % are meant: "
            + ", ".join(
                f"{level.covariance} {level.alike:.1%} (groups alike) and {level.differing:.1%} "
                "(differing)"
                for level in levels
            )
        )
    first = audit.headline(audit.sets[0], attribute)
    if len(first) == 1:
        _show_words(first[0].line.test)


def _show_joint(audit: "GroupAudit") -> None:
    """All columns in one regression, and the groups within strata."""
    for model, mix in list(audit.mixes.items())[:LISTED]:
        say("")
        say(mix_words(model, mix, audit.settings.strata, audit.outcome))
        if len(audit.mixes) == 1:
            show_table(mix_table(audit, model, mix, short=True))
    if not audit.joint:
        return
    say("")
    say("Attributes beside each other", style="bold")
    if len(audit.joint) > LISTED:
        show_table(joint_summary(audit.joint, short=True))
        return
    for line in audit.joint:
        if len(audit.joint) > 1:
            say(line.model)
        show_table(joint_table(line, audit.settings.confidence, short=True))
        statistic, df, p_value = line.beyond
        say(
            f"That groups differ beyond these columns: chi-square {statistic:.4g}, df {df}, "
            f"p = {p_value:.4g}."
        )
        for term in line.terms:
            if term.categories:
                say("")
                show_table(categories_table(term, audit.settings.confidence, audit.outcome.words))
            if term.tested and len(audit.joint) == 1:
                _show_words(term.test)


def _show_words(test: "TestResult") -> None:
    say("")
    say(f"Null hypothesis: {test.null}")
    say(f"What may be concluded: {test.may}")
    say(f"What may not: {test.may_not}")


def _show_versions(audit: "GroupAudit") -> None:
    for model, drift in drifts(audit.versions).items():
        say("")
        say(f"{model} over its versions", style="bold")
        show_table(drift_table(model, drift, audit.settings.confidence, short=True))
    for found in audit.versions[:LISTED]:
        say("")
        say(f"{found.name} against {found.before}, on the same images", style="bold")
        show_table(versions_table(found, audit.settings.confidence, short=True))
        statistic, df, p_value = found.heterogeneity
        say("")
        say(
            f"That all groups changed alike: chi-square {statistic:.4g}, df {df}, "
            f"p = {p_value:.4g}."
        )
        say(f"What may be concluded: {found.may}")
        say(f"What may not: {found.may_not}")


def _show_measures(audit: "GroupAudit") -> None:
    say("")
    show_table(measures_table(audit.measures, audit.settings.confidence, short=True))
    say(
        "Gaps between many small groups are above 0 by chance alone: compare them with the last "
        "column, not with 0."
    )


def _show_resolutions(audit: "GroupAudit") -> None:
    say("")
    show_table(resolutions_table(audit.resolutions, audit.settings.margin, short=True))
    say(
        "Within: the smallest margin that these data show to be kept. Least detectable: the true "
        "difference that a test of none finds four times in five."
    )
    for entry in audit.resolutions if len(audit.measures) == 1 else ():
        if entry.test is not None:
            _show_words(entry.test)
