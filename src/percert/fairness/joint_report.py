"""The report on attributes beside each other, and on groups within strata."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from percert.fairness.audit_result import GroupAudit
from percert.fairness.conclusions import LEVEL
from percert.fairness.groups import Outcome
from percert.fairness.joint import JointLine
from percert.fairness.joint_words import categories_table, joint_table
from percert.fairness.mix import Adjusted
from percert.fairness.report_tables import LISTED
from percert.reports.page import Block, Paragraph, Section
from percert.reports.table import Column, Table


def joint_section(audit: GroupAudit) -> Section:
    """All columns in one regression: of one model its sentences, of many how often each rejects."""
    confidence, blocks = audit.settings.confidence, list[Block]()
    if len(audit.joint) > LISTED:
        blocks.append(joint_summary(audit.joint))
    for line in audit.joint if len(audit.joint) <= LISTED else audit.joint[:1]:
        blocks.append(joint_table(line, confidence))
        blocks += [
            categories_table(term, confidence, audit.outcome.words)
            for term in line.terms
            if term.categories
        ]
    first = audit.joint[0]
    tested = [term for term in first.terms if term.tested]
    whose = f" of {first.model}" if len(audit.joint) > 1 else ""
    for term in tested:
        blocks += [
            Paragraph(f"Null hypothesis: {term.test.null}"),
            Paragraph(f"What may be concluded{whose}: {term.test.may}", "note"),
        ]
    if tested:
        blocks.append(Paragraph(f"What may not: {tested[0].test.may_not}", "warning"))
    return Section("Attributes beside each other", tuple(blocks))


def joint_summary(lines: Sequence[JointLine], *, short: bool = False) -> Table:
    """Of many models: the slopes of each column, and how many tests reject."""
    rows = [
        {
            "name": term.name,
            "slopes": np.array([line.terms[place].slope or np.nan for line in lines]),
            "rejected": np.mean([line.terms[place].test.significant for line in lines]),
        }
        for place, term in enumerate(lines[0].terms)
        if term.tested
    ]
    columns: list[Column[dict[str, Any]]] = [
        Column("column", lambda row: row["name"]),
        Column(
            "mean slope",
            lambda row: None if np.isnan(row["slopes"]).all() else float(row["slopes"].mean()),
            "+.4g",
            missing="",
        ),
        Column("p, Holm < 0.05", lambda row: row["rejected"], ".0%"),
    ]
    caption = f"All columns in one regression, of {len(lines)} models."
    return Table.of(rows, columns, caption, short=short)


def mixes_section(audit: GroupAudit) -> Section:
    """The groups as they compare within strata."""
    listed = list(audit.mixes.items())[:LISTED]
    model, first = listed[0]
    blocks: list[Block] = [
        Paragraph(mix_words(name, mix, audit.settings.strata, audit.outcome), "note")
        for name, mix in listed
    ]
    blocks.append(mix_table(audit, model, first))
    blocks.append(
        Paragraph(
            "What may not: Not that groups are treated alike within every stratum: differences "
            "that go one way here and the other way there cancel. Whether a stratum, such as a "
            "harder class, is itself a disadvantage of the group is a question about use, not one "
            "that data answer.",
            "warning",
        )
    )
    return Section(f"Within {_strata(audit.settings.strata)}", tuple(blocks))


def mix_table(audit: GroupAudit, model: str, mix: Adjusted, *, short: bool = False) -> Table:
    """Every group as it is, and with the mix of all images."""
    raw = audit.table.accuracy[model]
    columns: list[Column[int]] = [
        Column("group", lambda place: mix.groups[place]),
        Column("images", lambda place: int(audit.table.n[mix.groups[place]]), ",", short="n"),
        Column(audit.outcome.short, lambda place: float(raw[mix.groups[place]]), ".4f"),
        Column("within strata", lambda place: float(mix.share[place]), ".4f"),
        Column("change", lambda place: float(mix.share[place] - raw[mix.groups[place]]), "+.4f"),
    ]
    return Table.of(
        sorted(range(len(mix.groups)), key=lambda place: float(mix.share[place])),
        columns,
        f"{audit.outcome.title} of {model} as it is, and as it would be if every group had the mix "
        f"of {_strata(audit.settings.strata)} of all images (least squares over the images, group "
        "and stratum additive).",
        short=short,
    )


def mix_words(model: str, mix: Adjusted, strata: Sequence[str], outcome: Outcome) -> str:
    """Whether groups differ within strata, in a sentence."""
    verb = "differ" if mix.p_value < LEVEL else "are not shown to differ"
    apart = (
        f" {len(mix.apart)} groups share no stratum with the others and cannot be compared with "
        f"them: {', '.join(mix.apart[:6])}{', ...' if len(mix.apart) > 6 else ''}."
        if mix.apart
        else ""
    )
    return (
        f"Within {_strata(strata)} the groups of {model} {verb} in {outcome.short}: generalised "
        f"Cochran-Mantel-Haenszel chi-square {mix.statistic:.4g}, df {mix.df}, p = "
        f"{mix.p_value:.4g}, over {mix.strata} strata.{apart}"
    )


def _strata(names: Sequence[str]) -> str:
    return " and ".join(names)
