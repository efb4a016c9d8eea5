"""The tables of the audit's report."""

from collections.abc import Sequence

from percert.fairness.audit import GroupAudit, ModelLine, slope_summaries
from percert.fairness.compare import SlopeComparison
from percert.fairness.covariance import COVARIANCES
from percert.reports.page import Paragraph, Section, Table

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
            ("F", "right"),
            ("df", "right"),
            ("p", "right"),
            ("p, Holm", "right"),
            ("R²", "right"),
            ("τ", "right"),
        ),
        tuple(
            (
                entry.model,
                entry.line.covariance,
                f"{entry.line.slope:+.4f}",
                f"{entry.line.interval[0]:+.4f} to {entry.line.interval[1]:+.4f}",
                f"{entry.line.test.statistic:.3f}",
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
            ("p < 0.05", "right"),
        ),
        tuple(
            (
                row["set"],
                row["covariance"],
                str(row["models"]),
                f"{row['mean']:+.4f}",
                "" if row["sd"] is None else f"{row['sd']:.4f}",
                f"{row['min']:+.4f}",
                f"{row['quartiles'][1]:+.4f}",
                f"{row['max']:+.4f}",
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
            ("p", "right"),
            ("effect", "right"),
            ("interval of the difference", "right"),
        ),
        tuple(
            (
                test.name,
                f"{test.statistic:.4g}",
                ", ".join(f"{value:.4g}" for value in test.df),
                f"{test.p_value:.4g}",
                f"{test.effect:.3f}",
                ""
                if test.interval is None
                else f"{test.interval[0]:+.4f} to {test.interval[1]:+.4f}",
            )
            for test in tests
            if test is not None
        ),
        f"Means {comparison.mean[0]:+.4f} ({comparison.name}, sd {comparison.sd[0]:.4f}, "
        f"{comparison.models[0]} models) and {comparison.mean[1]:+.4f} ({comparison.other}, sd "
        f"{comparison.sd[1]:.4f}, {comparison.models[1]} models). Positive statistics: the slopes "
        f"of {comparison.name} are the smaller ones. Effects are Cohen's d, for the permutation "
        "test the difference itself.",
    )


def measures_section(audit: GroupAudit) -> Section:
    """fairlearn's measures, and how not to read them."""
    rows: list[tuple[str, ...]] = []
    for model, found in list(audit.measures.items())[:LISTED]:
        rows += [
            (
                model,
                measure.name.replace("_", " ") + (f" ({measure.group})" if measure.group else ""),
                f"{measure.value:.4f}",
                ""
                if measure.interval is None
                else f"{measure.interval[0]:.4f} to {measure.interval[1]:.4f}",
                "" if measure.fair is None else f"{measure.fair:g}",
                measure.meaning,
            )
            for measure in found
        ]
    more = len(audit.measures) - LISTED
    table = Table(
        (
            ("model", "left"),
            ("measure", "left"),
            ("value", "right"),
            (f"{audit.settings.confidence:.0%} bootstrap interval", "right"),
            ("if all were alike", "right"),
            ("what it is", "left"),
        ),
        tuple(rows),
        "By fairlearn's MetricFrame."
        + (f" {more} more models are not listed." if more > 0 else ""),
    )
    caution = Paragraph(
        "These measures look at the extreme groups only. Of many small groups the best and the "
        "worst lie far apart by chance alone, so that gaps are above 0 even where nothing differs; "
        "drawing again widens them further, so that an interval may lie above the value itself. "
        "Compare models by these measures, not a model with 0.",
        "note",
    )
    return Section("The usual group measures", (table, caution))


def covariances_section(audit: GroupAudit) -> Section:
    """The covariances shown, what each assumes, and how it errs."""
    table = Table(
        (("covariance", "left"), ("formula", "left"), ("assumes that", "left"), ("else", "left")),
        tuple(
            (name, entry.formula, entry.assumes, entry.caution)
            for name, entry in COVARIANCES.items()
            if name in audit.settings.covariances
        ),
        "False-alarm rates at the level 0.05 were measured on 2,000 simulated draws of 41 groups "
        "without slope (docs/results/audit-simulation.json).",
    )
    return Section("What the errors are assumed to be", (table,))
