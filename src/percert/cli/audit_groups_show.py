"""The audit of groups on a terminal."""

from typing import TYPE_CHECKING, Literal

from percert.cli.output import say, show_table
from percert.fairness.report_tables import difference_words, mixed_cells, resolution_of, version_row

if TYPE_CHECKING:
    from percert.fairness.audit_result import GroupAudit, ModelLine
    from percert.fairness.conclusions import TestResult

#: Of more models the distribution of slopes is shown, and the lines are in the report.
_LISTED = 12

_Columns = list[tuple[str, Literal["left", "right"]]]


def show_audit(audit: "GroupAudit") -> None:
    """The groups, the lines, the comparison, and what may be concluded from them."""
    if audit.outcome.name != "accuracy":
        say(f"{audit.outcome.title}: {audit.outcome.meaning}.", style="bold")
        say("")
    _show_groups(audit)
    for attribute in audit.attributes:
        say("")
        say(f"{audit.outcome.title} and {attribute}", style="bold")
        lines = [line for line in audit.lines if line.attribute == attribute]
        if len({line.model for line in lines}) <= _LISTED:
            _show_lines(lines)
            _show_mixed(audit, attribute)
        _show_slopes(audit, attribute)
        _show_levels(audit, attribute)
        first = audit.headline(audit.sets[0], attribute)
        if len(first) == 1:
            _show_words(first[0].line.test)
    for note in audit.notes:
        say("")
        say(note)
    for attribute, comparison in audit.comparisons.items():
        say("")
        say(f"{comparison.name} against {comparison.other}: slopes on {attribute}", style="bold")
        tests = [comparison.paired, comparison.welch, comparison.permutation]
        columns: _Columns = [("test", "left")]
        columns += [
            (name, "right") for name in ("statistic", "df", "p alone", "p that decides", "effect")
        ]
        show_table(
            columns,
            [
                [
                    test.name,
                    f"{test.statistic:.4g}",
                    ", ".join(f"{value:.4g}" for value in test.df),
                    f"{test.p_value:.4g}",
                    f"{test.p_adjusted:.4g}" if test is comparison.deciding else "",
                    f"{test.effect:.4g}",
                ]
                for test in tests
                if test is not None
            ],
        )
        _show_words(comparison.deciding)
    _show_versions(audit)
    _show_measures(audit)
    _show_resolutions(audit)


def _show_groups(audit: "GroupAudit") -> None:
    table = audit.table
    models = list(table.accuracy.columns)
    shown = models if len(models) <= 3 else []
    columns: _Columns = [("group", "left"), ("n", "right")]
    columns += [(str(name), "right") for name in table.attributes.columns]
    columns += [(str(name), "right") for name in shown or [f"mean {audit.outcome.short}"]]
    single = audit.estimates[models[0]] if len(models) == 1 else None
    columns += [("interval", "right"), ("shrunken", "right")] if single else []
    mean = table.accuracy.mean(axis=1)
    rows = []
    for place, group in enumerate(table.n.index):
        row = [str(group), str(int(table.n[group]))]
        row += [f"{table.attributes[name][group]:.4g}" for name in table.attributes.columns]
        row += [f"{table.accuracy[name][group]:.4f}" for name in shown] or [f"{mean[group]:.4f}"]
        if single:
            row += [f"{single.lower[place]:.4f} to {single.upper[place]:.4f}"]
            row += [f"{single.shrunken[place]:.4f}"]
        rows.append(row)
    show_table(columns, rows)
    say("")
    for model in models[:_LISTED]:
        say(difference_words(model, audit.estimates[model], audit.outcome))
    if table.left_out:
        say("")
        left = ", ".join(f"{entry.group} ({entry.n}: {entry.reason})" for entry in table.left_out)
        say(f"Left out, {len(table.left_out)} groups: {left}")


def _show_lines(lines: list["ModelLine"]) -> None:
    columns: _Columns = [("model", "left"), ("covariance", "left")]
    columns += [
        (name, "right")
        for name in ("slope", "interval", "slope a sd", "F", "df", "p alone", "p, Holm", "R2")
    ]
    show_table(
        columns,
        [
            [
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
            ]
            for entry in lines
        ],
    )


def _show_mixed(audit: "GroupAudit", attribute: str) -> None:
    rows = [list(mixed_cells(entry)) for entry in audit.mixed if entry.attribute == attribute]
    if rows:
        say("")
        say("Beside it, mixed-effects logistic regression of the images by group:")
        columns: _Columns = [("model", "left"), ("slope of log odds", "right")]
        columns += [(name, "right") for name in ("interval", "odds ratio a sd", "t", "df")]
        columns += [(name, "right") for name in ("p alone", "p, Holm", "spread of groups")]
        show_table(columns, rows)


def _show_slopes(audit: "GroupAudit", attribute: str) -> None:
    from percert.fairness.audit_result import slope_summaries

    rows = [
        [
            row["set"],
            row["covariance"],
            str(row["models"]),
            f"{row['mean']:+.4g}",
            f"{row['sd']:.4g}",
            f"{row['significant']:.0%}",
        ]
        for row in slope_summaries(audit)
        if row["attribute"] == attribute and row["models"] > 1
    ]
    if rows:
        say("")
        columns: _Columns = [("set", "left"), ("covariance", "left")]
        columns += [(name, "right") for name in ("models", "mean slope", "sd", "p, Holm < 0.05")]
        show_table(columns, rows)


def _show_words(test: "TestResult") -> None:
    say("")
    say(f"Null hypothesis: {test.null}")
    say(f"What may be concluded: {test.may}")
    say(f"What may not: {test.may_not}")


def _show_levels(audit: "GroupAudit", attribute: str) -> None:
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


def _show_versions(audit: "GroupAudit") -> None:
    for found in audit.versions[:_LISTED]:
        say("")
        say(f"{found.name} against {found.before}, on the same images", style="bold")
        columns: _Columns = [("group", "left"), ("n", "right"), ("before", "right")]
        columns += [(name, "right") for name in ("now", "won", "lost", "change", "interval")]
        columns += [("p alone", "right"), ("p, Holm", "right")]
        rows = [list(version_row(entry, found)) for entry in (*found.groups, found.overall)]
        show_table(columns, rows)
        statistic, df, p_value = found.heterogeneity
        say("")
        say(
            f"That all groups changed alike: chi-square {statistic:.4g}, df {df}, "
            f"p = {p_value:.4g}."
        )
        say(f"What may be concluded: {found.may}")
        say(f"What may not: {found.may_not}")


def _show_measures(audit: "GroupAudit") -> None:
    rows = [
        [
            model,
            measure.name + (f" ({measure.group})" if measure.group else ""),
            f"{measure.value:.4f}",
            f"{measure.interval[0]:.4f} to {measure.interval[1]:.4f}",
            "" if measure.by_chance is None else f"{measure.by_chance:.4f}",
        ]
        for model, found in audit.measures.items()
        for measure in found
    ]
    if len(audit.measures) > _LISTED:
        return
    say("")
    columns: _Columns = [("model", "left"), ("measure", "left")]
    columns += [(name, "right") for name in ("value", "interval", "by chance, if all were alike")]
    show_table(columns, rows)
    say(
        "Gaps between many small groups are above 0 by chance alone: compare them with the last "
        "column, not with 0."
    )


def _show_resolutions(audit: "GroupAudit") -> None:
    if len(audit.measures) > _LISTED:
        return
    margin = audit.settings.margin
    say("")
    columns: _Columns = [("model", "left"), ("of", "left"), ("difference seen", "right")]
    columns += [("shown to be within", "right")]
    columns += [] if margin is None else [(f"p, fair within {margin:g}", "right")]
    columns += [("least detectable", "right")]
    show_table(
        columns,
        [
            [
                entry.model,
                resolution_of(entry),
                f"{entry.difference:.4f}",
                f"{entry.within:.4f}",
                *([] if entry.test is None else [f"{entry.test.p_adjusted:.4g}"]),
                f"{entry.detectable:.4f}",
            ]
            for entry in audit.resolutions
        ],
    )
    say(
        "Within: the smallest margin that these data show to be kept. Least detectable: the true "
        "difference that a test of none finds four times in five."
    )
    for entry in audit.resolutions if len(audit.measures) == 1 else ():
        if entry.test is not None:
            _show_words(entry.test)
