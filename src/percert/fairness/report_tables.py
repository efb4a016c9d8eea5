"""The tables of the audit, on the page and on a terminal.

The tables of the audit's report.

The report of an earlier version beside that of now.

The report of what the data can show: margins within which groups are fair.
"""

from collections.abc import Sequence

from percert.fairness.audit_result import GroupAudit, GroupEstimates, ModelLine, slope_summaries
from percert.fairness.conclusions import LEVEL
from percert.fairness.equivalence import Resolution
from percert.fairness.groups import ACCURACY, Outcome
from percert.fairness.least_squares import COVARIANCES
from percert.fairness.mixed_logistic import MixedLogistic
from percert.fairness.slope_tests import SlopeComparison
from percert.fairness.versions import GroupChange, VersionComparison
from percert.reports.page import Block, Paragraph, Section, Table

#: Models of which each line is listed; of more, the distribution of slopes says it all.
LISTED = 12


def lines_table(lines: Sequence[ModelLine], confidence: float) -> Table:
    """Every line given, with its test."""
    return Table(
        (
            ("model", "left"),
            ("covariance", "left"),
            ("slope", "right"),
            (f"{confidence:.0%} interval", "right"),
            ("slope a standard deviation", "right"),
            ("F", "right"),
            ("df", "right"),
            ("p alone", "right"),
            ("p, Holm", "right"),
            ("R²", "right"),
            ("τ", "right"),
        ),
        tuple(
            (
                entry.model,
                entry.line.covariance,
                f"{entry.line.slope:+.4g}",
                f"{entry.line.interval[0]:+.4g} to {entry.line.interval[1]:+.4g}",
                f"{entry.line.per_sd:+.4g}",
                f"{entry.line.test.statistic:.4g}",
                ", ".join(f"{value:g}" for value in entry.line.test.df),
                f"{entry.line.test.p_value:.4g}",
                f"{entry.p_holm:.4g}",
                f"{entry.line.r2:.3f}",
                "" if entry.line.between is None else f"{entry.line.between:.4f}",
            )
            for entry in lines
        ),
        "The same line under each covariance of the groups' errors. τ is the estimated spread of "
        "the groups about the line beyond the luck of the draw.",
    )


def slopes_table(audit: GroupAudit, attribute: str) -> Table:
    """The distribution of slopes of every set, for one attribute."""
    return Table(
        (
            ("set", "left"),
            ("covariance", "left"),
            ("models", "right"),
            ("mean slope", "right"),
            ("sd", "right"),
            ("min", "right"),
            ("median", "right"),
            ("max", "right"),
            ("p, Holm < 0.05", "right"),
        ),
        tuple(
            (
                row["set"],
                row["covariance"],
                str(row["models"]),
                f"{row['mean']:+.4g}",
                "" if row["sd"] is None else f"{row['sd']:.4g}",
                f"{row['min']:+.4g}",
                f"{row['quartiles'][1]:+.4g}",
                f"{row['max']:+.4g}",
                f"{row['significant']:.0%}",
            )
            for row in slope_summaries(audit)
            if row["attribute"] == attribute
        ),
        f"Slopes of all models on {attribute}, and the share of them whose F-test rejects.",
    )


def comparison_table(comparison: SlopeComparison) -> Table:
    """The three tests side by side."""
    tests = [comparison.paired, comparison.welch, comparison.permutation]
    return Table(
        (
            ("test", "left"),
            ("statistic", "right"),
            ("df", "right"),
            ("p alone", "right"),
            ("p that decides", "right"),
            ("effect", "right"),
            ("interval of the difference", "right"),
        ),
        tuple(
            (
                test.name,
                f"{test.statistic:.4g}",
                ", ".join(f"{value:.4g}" for value in test.df),
                f"{test.p_value:.4g}",
                f"{test.p_adjusted:.4g}" if test is comparison.deciding else "",
                f"{test.effect:.4g}",
                ""
                if test.interval is None
                else f"{test.interval[0]:+.4g} to {test.interval[1]:+.4g}",
            )
            for test in tests
            if test is not None
        ),
        f"Means {comparison.mean[0]:+.4g} ({comparison.name}, sd {comparison.sd[0]:.4g}, "
        f"{comparison.models[0]} models) and {comparison.mean[1]:+.4g} ({comparison.other}, sd "
        f"{comparison.sd[1]:.4g}, {comparison.models[1]} models). Positive statistics: the slopes "
        f"of {comparison.name} are the smaller ones. Effects are Cohen's d, for the permutation "
        "test the difference itself.",
    )


def mixed_cells(entry: MixedLogistic) -> tuple[str, ...]:
    """The row of one model's mixed-effects logistic regression, on the page and on a terminal."""
    return (
        entry.model,
        f"{entry.slope:+.4g}",
        f"{entry.interval[0]:+.4g} to {entry.interval[1]:+.4g}",
        f"{entry.odds_ratio:.4g}",
        f"{entry.test.statistic:.4g}",
        f"{entry.test.df[0]:g}",
        f"{entry.test.p_value:.4g}",
        f"{entry.test.p_adjusted:.4g}",
        f"{entry.spread:.4f}",
    )


def mixed_table(audit: GroupAudit, attribute: str) -> Table:
    """The mixed-effects logistic regression of every model, for one attribute."""
    return Table(
        (
            ("model", "left"),
            ("slope of log odds", "right"),
            (f"{audit.settings.confidence:.0%} interval", "right"),
            ("odds ratio a standard deviation", "right"),
            ("t", "right"),
            ("df", "right"),
            ("p alone", "right"),
            ("p, Holm", "right"),
            ("spread of groups", "right"),
        ),
        tuple(mixed_cells(entry) for entry in audit.mixed if entry.attribute == attribute),
        "Mixed-effects logistic regression of the images by group, by maximum likelihood: the "
        "model of 0 and 1 as they are, beside the line. The spread is the standard deviation of "
        "the groups' own log odds.",
    )


def measures_section(audit: GroupAudit) -> Section:
    """The measures of the extreme groups, with intervals of the true ones."""
    rows: list[tuple[str, ...]] = []
    for model, found in list(audit.measures.items())[:LISTED]:
        rows += [
            (
                model,
                measure.name.replace("_", " ") + (f" ({measure.group})" if measure.group else ""),
                f"{measure.value:.4f}",
                f"{measure.interval[0]:.4f} to {measure.interval[1]:.4f}",
                "" if measure.by_chance is None else f"{measure.by_chance:.4f}",
                measure.meaning
                + (
                    f"; {measure.candidates} groups may be the one"
                    if measure.candidates and measure.candidates > 1
                    else ""
                ),
            )
            for measure in found
        ]
    more = len(audit.measures) - LISTED
    table = Table(
        (
            ("model", "left"),
            ("measure", "left"),
            ("value", "right"),
            (f"{audit.settings.confidence:.0%} interval", "right"),
            ("by chance, if all were alike", "right"),
            ("what it is", "left"),
        ),
        tuple(rows),
        "Values as fairlearn's MetricFrame has them. Intervals hold the true value whichever group "
        "attains it: exact ones of all groups at once."
        + (f" {more} more models are not listed." if more > 0 else ""),
    )
    caution = Paragraph(
        "These measures look at the extreme groups only. Of many small groups the best and the "
        "worst lie far apart by the luck of the draw alone: compare the value with the column "
        "beside its interval, not with 0.",
        "note",
    )
    return Section("The usual group measures", (table, caution))


def differences_table(audit: GroupAudit) -> Table:
    """Do the groups of each model differ at all?"""
    return Table(
        (
            ("model", "left"),
            ("chi-square", "right"),
            ("df", "right"),
            ("p", "right"),
            ("spread of true shares", "right"),
        ),
        tuple(
            (
                model,
                f"{found.heterogeneity.statistic:.4g}",
                str(found.heterogeneity.df),
                f"{found.heterogeneity.p_value:.4g}"
                + (" (simulated)" if found.heterogeneity.by_simulation else ""),
                f"{found.spread:.4f}",
            )
            for model, found in list(audit.estimates.items())[:LISTED]
            if found.heterogeneity is not None
        ),
        "Whether the groups differ at all, whatever their attribute: Pearson's chi-square of right "
        "and wrong by group (Cochran's Q with the pooled variance). The spread is the estimated "
        "standard deviation of the true shares.",
    )


def difference_words(model: str, found: GroupEstimates, outcome: Outcome = ACCURACY) -> str:
    """Whether one model's groups differ, in a sentence."""
    test = found.heterogeneity
    if test is None:
        return f"{outcome.title} of {model} is 1 in every group, or 0 in every one."
    sure = test.p_value < LEVEL
    said = (
        f"The groups of {model} {'differ' if sure else 'are not shown to differ'} in "
        f"{outcome.short}: "
        f"chi-square {test.statistic:.4g}, df {test.df}, p = {test.p_value:.4g}"
    )
    if found.difference is None:
        return f"{said}."
    gap = found.difference
    return (
        f"{said}; {gap.second} less {gap.first} is {gap.value:+.4f}, between "
        f"{gap.interval[0]:+.4f} and {gap.interval[1]:+.4f}."
    )


def levels_table(audit: GroupAudit, attribute: str) -> Table:
    """How often each test cries wolf on these groups."""
    found = audit.levels[attribute]
    return Table(
        (
            ("covariance", "left"),
            ("false alarms, groups alike", "right"),
            ("false alarms, groups differing", "right"),
        ),
        tuple(
            (level.covariance, f"{level.alike:.1%}", f"{level.differing:.1%}") for level in found
        ),
        f"Of {found[0].draws:,} draws of groups with these sizes and this {attribute}, in which "
        f"{audit.outcome.words} does not depend on it, the share in which the test rejects at "
        "0.05: it should be 5 %. Alike: all groups have one true share. Differing: their log odds "
        f"have the standard deviation {found[0].spread:.3g} that was estimated here."
        if found
        else "",
    )


def covariances_section(audit: GroupAudit) -> Section:
    """The covariances shown, what each assumes, and how often it errs on these groups."""
    table = Table(
        (("covariance", "left"), ("formula", "left"), ("assumes that", "left"), ("but", "left")),
        tuple(
            (name, entry.formula, entry.assumes, entry.caution)
            for name, entry in COVARIANCES.items()
            if name in audit.settings.covariances
        ),
        "The first one asked for decides; the others stand beside it.",
    )
    levels = tuple(
        levels_table(audit, attribute) for attribute, found in audit.levels.items() if found
    )
    return Section("What the errors are assumed to be", (table, *levels))


def versions_table(found: VersionComparison, confidence: float) -> Table:
    """Every group before and now."""
    statistic, df, p_value = found.heterogeneity
    return Table(
        (
            ("group", "left"),
            ("images", "right"),
            ("before", "right"),
            ("now", "right"),
            ("won", "right"),
            ("lost", "right"),
            ("change", "right"),
            (f"{confidence:.0%} interval", "right"),
            ("p alone", "right"),
            ("p, Holm", "right"),
        ),
        tuple(version_row(entry, found) for entry in (*found.groups, found.overall)),
        f"{found.name} against {found.before} on the same images. Won: wrong before, right now. "
        "Exact McNemar tests; of all groups together without Holm's correction. That all groups "
        f"changed alike: chi-square {statistic:.4g}, df {df}, p = {p_value:.4g}.",
    )


def version_row(entry: GroupChange, found: VersionComparison) -> tuple[str, ...]:
    """One group's change, in words for a table."""
    return (
        entry.group,
        f"{entry.n:,}",
        f"{entry.before:.4f}",
        f"{entry.now:.4f}",
        str(entry.won),
        str(entry.lost),
        f"{entry.change:+.4f}",
        f"{entry.interval[0]:+.4f} to {entry.interval[1]:+.4f}",
        f"{entry.p_value:.4g}",
        f"{entry.p_holm:.4g}" if entry is not found.overall else "",
    )


def versions_section(audit: GroupAudit) -> Section:
    """Each model against its earlier version."""
    blocks: list[Block] = []
    for found in audit.versions[:LISTED]:
        blocks += [
            versions_table(found, audit.settings.confidence),
            Paragraph(f"What may be concluded: {found.may}", "note"),
            Paragraph(f"What may not: {found.may_not}", "warning"),
        ]
    return Section("Before and now, on the same images", tuple(blocks))


def resolutions_section(audit: GroupAudit) -> Section:
    """Within which margin the groups are shown to be fair, and what these data could find."""
    shown = [entry for entry in audit.resolutions if entry.model in list(audit.measures)[:LISTED]]
    margin = audit.settings.margin
    tested = () if margin is None else ((f"p, fair within {margin:g}", "right"),)
    table = Table(
        (
            ("model", "left"),
            ("of", "left"),
            ("difference seen", "right"),
            ("shown to be within", "right"),
            *tested,
            ("least difference detectable", "right"),
        ),
        tuple(
            (
                entry.model,
                resolution_of(entry),
                f"{entry.difference:.4f}",
                f"{entry.within:.4f}",
                *(() if entry.test is None else (f"{entry.test.p_adjusted:.4g}",)),
                f"{entry.detectable:.4f}",
            )
            for entry in shown
        ),
        "Within: the smallest margin that these data show to be kept, at the level 0.05 (two "
        "one-sided tests). Detectable: the true difference that the test of no difference finds "
        "four times in five; of groups, between the two smallest.",
    )
    blocks: list[Block] = [table]
    for entry in shown if len(audit.measures) == 1 else []:
        if entry.test is not None:
            blocks += [
                Paragraph(f"Null hypothesis: {entry.test.null}"),
                Paragraph(f"What may be concluded: {entry.test.may}", "note"),
            ]
    blocks += [
        Paragraph(f"What may not: {entry.test.may_not}", "warning")
        for entry in shown[:1]
        if entry.test is not None
    ]
    return Section("Fair within a margin?", tuple(blocks))


def resolution_of(entry: Resolution) -> str:
    """What a resolution is of, in a word or two."""
    return "all groups" if entry.attribute is None else f"the line on {entry.attribute}"
