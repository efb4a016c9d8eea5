"""The report of ``percert eval people``: tables of agreement, and what people said by distance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from percert.data.triplets import Triplet
from percert.evaluation.people.agreement import Estimate
from percert.evaluation.people.answers import ObserverAnswers, compared
from percert.evaluation.people.distances import EQUAL, pair_name
from percert.evaluation.people.scores import (
    ALL,
    CHANGED,
    Ceiling,
    Distances,
    MetricAgreement,
    value_of,
)
from percert.reports.page import Block, Figure, Paragraph, Section, how_made, write_page
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import read_run
from percert.reports.table import Column, Table

SCOPES = {ALL: "all answers", CHANGED: "those on images that differ"}
#: So many metrics are drawn.
DRAWN = 12


def interval(found: Estimate | None) -> str:
    """A statistic with its interval.

    >>> interval(Estimate(0.9123, 0.85, 0.95))
    '0.912 (0.850 to 0.950)'
    """
    if found is None or found.value is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def agreement_table(agreements: Sequence[MetricAgreement], scope: str) -> Table:
    """A row a metric, a column a statistic, each with its interval; the best agreement first."""
    statistics = list(agreements[0].found)
    first = statistics[0]

    def rank(one: MetricAgreement) -> float:
        value = one.found[first].value
        return float("inf") if value is None else -value

    def column(name: str) -> Column[MetricAgreement]:
        def value(one: MetricAgreement) -> Estimate:
            return one.found[name]

        return Column(name, value, interval)

    what = "triplets" if "2AFC" in statistics else "pairs"
    count, pictures = agreements[0].answers, agreements[0].pictures
    return Table.of(
        sorted(agreements, key=rank),
        [Column("metric", lambda one: one.metric), *map(column, statistics)],
        f"{SCOPES.get(scope, scope).capitalize()}: {count} {what} of {pictures} pictures. In "
        "parentheses the 95 % interval of a bootstrap over pictures.",
    )


def ceiling_words(ceilings: Sequence[Ceiling]) -> list[str]:
    """What the observers' own disagreement leaves to be reached."""
    return [
        f"{one.statistic}: a metric that knows the share of every answer would reach "
        f"{one.value:.3f}; observers disagree on the rest."
        for one in ceilings
    ]


def write_people_report(
    out: Path,
    answers: ObserverAnswers,
    distances: Distances,
    agreements: Sequence[MetricAgreement],
    ceilings: Sequence[Ceiling],
) -> None:
    """Write ``report.html`` into ``out``, whole or not at all."""
    sections = []
    for scope in dict.fromkeys(one.scope for one in agreements):
        table = agreement_table([one for one in agreements if one.scope == scope], scope)
        words = ceiling_words([one for one in ceilings if one.scope == scope])
        blocks: list[Block] = [table, *(Paragraph(text, "note") for text in words)]
        sections.append(Section(SCOPES.get(scope, scope).capitalize(), tuple(blocks)))
    metrics = [name for name in distances if name != EQUAL][:DRAWN]
    drawn = _figure(answers, distances, metrics)
    if drawn is not None:
        sections.append(Section("What people said, by distance", (drawn,)))
    sections.append(how_made(read_run(out)))
    write_page(
        out / "report.html",
        "Metrics and people",
        sections,
        lead=LEADS[answers.kind].format(len(answers.judged)),
    )


LEADS = {
    "noticed": "What people said of {} pairs of pictures: whether they differ.",
    "scored": "What people said of {} pairs of pictures: how far they are apart.",
    "triplets": "What people said of {} triplets: which of two pictures is closer to the third.",
}
SAID = {"noticed": "share who saw a difference", "scored": "score (greater: more different)"}


def _figure(
    answers: ObserverAnswers, distances: Distances, metrics: Sequence[str]
) -> Figure | None:
    """A panel a metric, a dot a pair; of triplets there is none."""
    judged = [
        one
        for one in answers.judged
        if not isinstance(one, Triplet)
        and all(pair_name(p) in distances[name] for name in metrics for p in compared(one))
    ]
    if not judged:
        return None
    wide = min(3, len(metrics))
    rows = -(-len(metrics) // wide)
    figure, axes = new_figure(
        2.7 * wide, 0.4 + 2.2 * rows, nrows=rows, ncols=wide, squeeze=False, sharey=True
    )
    said = [value_of(one) for one in judged]
    groups = list(dict.fromkeys(one.group for one in judged))
    for axis, name in zip(axes.ravel(), metrics, strict=False):
        found = np.array([distances[name][pair_name(compared(one)[0])] for one in judged])
        for place, group in enumerate(groups):
            some = [i for i, one in enumerate(judged) if one.group == group]
            colour = COLOURS[place % len(COLOURS)]
            axis.scatter(
                found[some], np.array(said)[some], s=9, alpha=0.7, color=colour, label=group
            )
        axis.set_title(name, fontsize=9)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
    for axis in axes.ravel()[len(metrics) :]:
        axis.set_visible(False)
    figure.supylabel(SAID[answers.kind], fontsize=9)
    figure.supxlabel("distance", fontsize=9)
    if len(groups) > 1:
        axes[0, 0].legend(frameon=False, fontsize=7)
    return Figure(
        figure_png(figure),
        "A dot is a pair of pictures. A metric agrees with people where dots lie along one rising "
        "line, whatever its shape.",
        "What people said of each pair against its distance, a panel a metric.",
    )
