"""The sections of the audit's report: what was found, and what may be concluded from it."""

from pathlib import Path

import numpy as np

from percert.fairness.audit_result import GroupAudit, ModelLine, file_names
from percert.fairness.conclusions import TestResult
from percert.fairness.drift import drift_table, drifts
from percert.fairness.equivalence import resolutions_table
from percert.fairness.least_squares import COVARIANCES
from percert.fairness.measures import measures_table
from percert.fairness.mixed_logistic import mixed_table
from percert.fairness.report_tables import (
    LISTED,
    comparison_table,
    differences_table,
    groups_table,
    is_influential,
    left_out_table,
    lines_table,
    slopes_table,
)
from percert.fairness.resampling import generality_table
from percert.fairness.versions import versions_table
from percert.reports.group_plots import interval_bars, scatter_with_line
from percert.reports.page import Block, Figure, Paragraph, Section, kept_figure
from percert.reports.plots import boxes, share_bars


def result_section(audit: GroupAudit, attribute: str, folder: Path | None) -> Section:
    """The line on one attribute: test, figure (of the first it stands above), tables."""
    blocks: list[Block] = []
    shown = shown_set(audit)
    entry = audit.headline(shown, attribute)[0]
    models = audit.models[shown]
    if len(models) > 1:
        blocks.append(
            Paragraph(f"The test and the figure are those of {entry.model}, one of several models.")
        )
    blocks += sentences(entry.line.test)
    if attribute != audit.attributes[0]:
        blocks.append(line_figure(audit, attribute, folder))
    lines = [line for line in audit.lines if line.attribute == attribute and line.members == shown]
    if len(models) <= LISTED:
        confidence = audit.settings.confidence
        blocks.append(lines_table(lines, confidence))
        if mixed := [fit for fit in audit.mixed if fit.attribute == attribute]:
            blocks.append(mixed_table(mixed, confidence))
    blocks.append(slopes_table(audit, attribute))
    blocks += [Paragraph(note, "note") for note in audit.notes]
    return Section(f"Does {audit.outcome.words} depend on {attribute}?", tuple(blocks))


def shown_set(audit: GroupAudit) -> str:
    """The set whose first model is drawn: a single pretrained one where there is one."""
    last = audit.sets[-1]
    return last if len(audit.sets) > 1 and _is_single(audit, last) else audit.sets[0]


def line_figure(
    audit: GroupAudit, attribute: str, folder: Path | None, *, half: bool = False
) -> Figure:
    """The groups about the line, with its band."""
    names = file_names(audit.attributes)
    entry = audit.headline(shown_set(audit), attribute)[0]
    coloured = ", its colour the number of images" if audit.table.n.nunique() > 1 else ""
    png = scatter_with_line(
        audit.table.attributes[attribute].to_numpy(float),
        audit.table.accuracy[entry.model].to_numpy(float),
        audit.table.n.to_numpy(float),
        (entry.line.intercept, entry.line.slope),
        x_label=attribute,
        y_label=audit.outcome.short,
        size_label="images in the group",
        names=_influential(audit, entry),
        band=None if entry.line.band is None else entry.line.band.reach,
    )
    return kept_figure(
        folder,
        f"{file_names([audit.outcome.name])[audit.outcome.name]}-by-{names[attribute]}.png",
        png,
        f"{audit.outcome.title} of {entry.model} by {attribute}: one dot a group{coloured}; the "
        "line is generalised least squares with the covariance "
        f"{COVARIANCES[entry.line.covariance].formula}, the band holds it at "
        f"{audit.settings.confidence:.0%} point by point. Named are groups whose Cook's distance "
        "exceeds 4 / groups.",
        f"Scatter of {audit.outcome.short} against {attribute} for {len(audit.table.n)} "
        f"groups, with a line of slope {entry.line.slope:+.4g}",
        half=half,
    )


def shares_figure(audit: GroupAudit, folder: Path | None, *, half: bool = False) -> Figure:
    """Every group's share with its interval, about that of all images."""
    model = audit.models[shown_set(audit)][0]
    table, found = audit.table, audit.estimates[model]
    share, n = table.accuracy[model].to_numpy(float), table.n.to_numpy(float)
    png = interval_bars(
        [str(group) for group in table.n.index],
        share,
        found.lower,
        found.upper,
        label=audit.outcome.short,
        middle=float(share @ n / n.sum()),
    )
    return kept_figure(
        folder,
        f"{file_names([audit.outcome.name])[audit.outcome.name]}-of-groups.png",
        png,
        f"{audit.outcome.title} of {model} by group, from that of all images, with Wilson's "
        f"{audit.settings.confidence:.0%} intervals of each by itself.",
        f"Bars of {audit.outcome.short} by group with intervals",
        half=half,
    )


def _is_single(audit: GroupAudit, members: str) -> bool:
    return len({line.model for line in audit.lines if line.members == members}) == 1


def sentences(test: TestResult) -> list[Block]:
    """A test in words: its hypothesis, its numbers, and what follows and does not."""
    df = ", ".join(f"{value:g}" for value in test.df)
    numbers = f"{test.name}: statistic {test.statistic:.4g}" + (f", df ({df})" if df else "")
    return [
        Paragraph(f"Null hypothesis: {test.null}"),
        Paragraph(
            f"{numbers}, p = {test.p_value:.4g}"
            + (
                ""
                if test.p_adjusted == test.p_value
                else f" alone, {test.p_adjusted:.4g} adjusted: that decides"
            )
            + f". Effect ({test.effect_name}): "
            f"{test.effect:.4g}" + _interval_text(test.interval) + "."
        ),
        Paragraph(f"What may be concluded: {test.may}", "note"),
        Paragraph(f"What may not: {test.may_not}", "warning"),
    ]


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f", between {interval[0]:.4g} and {interval[1]:.4g}"


def _influential(audit: GroupAudit, entry: ModelLine) -> list[str]:
    return [
        str(group) if is_influential(distance, len(audit.table.n)) else ""
        for group, distance in zip(audit.table.n.index, entry.line.cooks, strict=True)
    ]


def sets_section(audit: GroupAudit, folder: Path | None) -> Section:
    """Two sets of models, on every attribute."""
    blocks: list[Block] = []
    names = file_names(list(audit.comparisons))
    for attribute, comparison in audit.comparisons.items():
        samples = {
            members: np.array([line.line.slope for line in audit.headline(members, attribute)])
            for members in audit.sets[:2]
        }
        reference = None
        if len(audit.sets) > 2:
            slopes = [line.line.slope for line in audit.headline(audit.sets[2], attribute)]
            reference = (audit.sets[2], float(np.mean(slopes)))
        png = boxes(
            samples,
            value_label=f"slope of {audit.outcome.short} on {attribute}",
            reference=reference,
        )
        blocks.append(
            kept_figure(
                folder,
                f"slopes-on-{names[attribute]}.png",
                png,
                f"Slopes of all models on {attribute}, one dot a model: median, quartiles, and "
                "whiskers to 1.5 times their distance."
                + (f" The dashed line is the slope of {reference[0]}." if reference else ""),
                "Boxes of slopes: "
                + "; ".join(
                    f"{name} mean {values.mean():+.4g}" for name, values in samples.items()
                ),
            )
        )
        blocks.append(comparison_table(comparison))
        blocks += sentences(comparison.deciding)
        power = comparison.power
        blocks.append(
            Paragraph(
                f"With {comparison.models[0]} and {comparison.models[1]} models the test finds a "
                f"difference of {power.smallest_difference:.4g} four times in five "
                f"(standardised: {power.smallest_effect:.3f}). Its power at the difference "
                f"observed, {power.observed:.3f}, restates the p-value and is no evidence of its "
                "own.",
                "note",
            )
        )
    return Section(f"{audit.sets[0]} against {audit.sets[1]}", tuple(blocks))


def groups_section(audit: GroupAudit, folder: Path | None) -> Section:
    """Every group, its images and its share."""
    table = audit.table
    counts = {str(group): float(n) for group, n in table.n.items()}
    counts |= {left.group: float(left.n) for left in table.left_out}
    blocks: list[Block] = [
        kept_figure(
            folder,
            "share-of-images.png",
            share_bars(counts),
            "Share of the images by group, those left out below included; groups under 1 % are "
            "drawn together.",
            "Bars of the share of images by group",
        ),
        groups_table(audit),
    ]
    if audit.attributes:
        blocks.append(differences_table(audit))
    if table.left_out:
        blocks.append(left_out_table(table.left_out))
    return Section("The groups", tuple(blocks))


def measures_section(audit: GroupAudit) -> Section:
    """The measures of the models listed, and a word of caution."""
    listed = dict(list(audit.measures.items())[:LISTED])
    blocks: list[Block] = [measures_table(listed, audit.settings.confidence)]
    if len(audit.measures) > LISTED:
        blocks.append(Paragraph(f"{len(audit.measures) - LISTED} more models are not listed."))
    blocks.append(
        Paragraph(
            "These measures look at the extreme groups only. Of many small groups the best and the "
            "worst lie far apart by the luck of the draw alone: compare the value with the column "
            "beside its interval, not with 0.",
            "note",
        )
    )
    return Section("The usual group measures", tuple(blocks))


def generality_section(audit: GroupAudit) -> Section:
    """Slopes with models, images and groups drawn again."""
    words = (Paragraph(entry.words, "note") for entry in audit.generality)
    table = generality_table(audit.generality, audit.settings.confidence)
    return Section("To what does it generalise?", (*words, table))


def versions_section(audit: GroupAudit) -> Section:
    """Each model against its earlier versions."""
    blocks: list[Block] = [
        drift_table(model, found, audit.settings.confidence)
        for model, found in drifts(audit.versions).items()
    ]
    for found in audit.versions[:LISTED]:
        blocks += [
            versions_table(found, audit.settings.confidence),
            Paragraph(f"What may be concluded: {found.may}", "note"),
            Paragraph(f"What may not: {found.may_not}", "warning"),
        ]
    return Section("Before and now, on the same images", tuple(blocks))


def resolutions_section(audit: GroupAudit) -> Section:
    """The table of resolutions, and what may and may not be concluded from its tests."""
    listed = list(audit.measures)[:LISTED]
    shown = [entry for entry in audit.resolutions if entry.model in listed]
    blocks: list[Block] = [resolutions_table(shown, audit.settings.margin)]
    tests = [entry.test for entry in shown if entry.test is not None]
    for test in tests if len(audit.measures) == 1 else []:
        blocks += [
            Paragraph(f"Null hypothesis: {test.null}"),
            Paragraph(f"What may be concluded: {test.may}", "note"),
        ]
    blocks += [Paragraph(f"What may not: {test.may_not}", "warning") for test in tests[:1]]
    return Section("Fair within a margin?", tuple(blocks))
