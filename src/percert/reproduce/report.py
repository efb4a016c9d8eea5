"""Outcomes as a page, as Markdown and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from percert.reports.page import Block, Paragraph, Section, Table
from percert.reports.report_how import rerun
from percert.reproduce.catalog import CATALOG
from percert.reproduce.item import PAPERS, Compared, Item
from percert.reproduce.run import Outcome

HEADINGS = ("", "paper", "measured", "deviation")


def number(value: float | None, unit: str = "") -> str:
    """A number with five digits that count, and its unit; a dash where there is none.

    >>> number(0.02554), number(85.09, "%"), number(None), number(2491.13)
    ('0.02554', '85.09 %', '-', '2491.1')
    """
    if value is None:
        return "-"
    text = f"{value:.5g}"
    if "e" in text and 1e-4 <= abs(value) < 1e7:
        text = f"{value:.0f}"
    return f"{text} {unit}".strip()


def cells(row: Compared) -> tuple[str, str, str, str]:
    """One number as a row of a table; the deviation says its sign."""
    deviation = row.deviation
    said = (
        "" if deviation is None else f"{'+' if deviation >= 0 else ''}{number(deviation, row.unit)}"
    )
    return (row.what, number(row.paper, row.unit), number(row.measured, row.unit), said)


def outcome_section(outcome: Outcome) -> Section:
    """One item: its numbers beside the paper's, what differs, and figures."""
    item = outcome.item
    blocks: list[Block] = [Paragraph(f"{item.title}. {PAPERS[item.paper]}.")]
    if outcome.findings is None:
        blocks.append(Paragraph(f"Not made: {outcome.reason}.", "warning"))
    else:
        if not outcome.findings.same:
            blocks.append(
                Paragraph(
                    "A stand-in on small data: numbers beside the paper's are of another network "
                    f"or other images, and need not agree. What was run: {item.offline}.",
                    "warning",
                )
            )
        if outcome.findings.rows:
            blocks.append(
                Table(
                    tuple((name, "right" if name else "left") for name in HEADINGS),
                    tuple(cells(row) for row in outcome.findings.rows),
                    "Deviation is measured less the paper's.",
                )
            )
        blocks += outcome.findings.figures
        blocks.append(
            Paragraph(
                "What differs:\n" + "\n".join(f"- {s}" for s in outcome.findings.differs), "note"
            )
        )
    blocks.append(needs_paragraph(item))
    return Section(item.name, tuple(blocks))


def needs_paragraph(item: Item) -> Paragraph:
    """How the paper's own version is made, and what it takes."""
    said = f"The paper's own: {item.how}."
    for need in item.needs:
        said += f"\n- {need.what}. Address: {need.address}. Size: {need.size}. Where: {need.place}."
    return Paragraph(said)


def summary_section(outcomes: Sequence[Outcome]) -> Section:
    """Every item in a line."""
    return Section(
        "All tables and figures",
        (
            Table(
                (("name", "left"), ("what", "left"), ("state", "left"), ("seconds", "right")),
                tuple(
                    (
                        o.item.name,
                        o.item.title,
                        state_words(o),
                        f"{o.seconds:.0f}" if o.state == "made" else "",
                    )
                    for o in outcomes
                ),
            ),
        ),
    )


def state_words(outcome: Outcome) -> str:
    """What became of an item, in a few words."""
    if outcome.findings is not None:
        return "made" if outcome.findings.same else "made, stand-in"
    if outcome.state == "not offline":
        return "needs data" if outcome.item.needs else "nothing to run"
    return f"{outcome.state}: {outcome.reason}"


def markdown(outcomes: Sequence[Outcome], record: Mapping[str, Any] | None) -> str:
    """All outcomes as a page of Markdown, with how it was made at the top."""
    lines = ["# The papers' tables and figures, as far as they can be made here", ""]
    if record is not None:
        versions = record.get("versions") or {}
        made = (
            f"Made on {str(record.get('written'))[:10]} by `{rerun(record)}`, "
            f"seed {record.get('seed')}, on {record.get('device')}, commit {record.get('commit')}, "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + "."
        )
        lines += [made, ""]
    lines += [
        "Where it says *stand-in*, networks or images are others than the paper's: the numbers are "
        "beside one another and need not agree.",
        "",
        "| name | what | state |",
        "| --- | --- | --- |",
        *(f"| {o.item.name} | {o.item.title} | {state_words(o)} |" for o in outcomes),
    ]
    for outcome in outcomes:
        if outcome.findings is None:
            continue
        lines += ["", f"## {outcome.item.name}", "", f"{outcome.item.title}.", ""]
        if outcome.findings.rows:
            lines += [
                "| | paper | measured | deviation |",
                "| --- | ---: | ---: | ---: |",
                *("| " + " | ".join(cells(row)) + " |" for row in outcome.findings.rows),
                "",
            ]
        lines += [f"- {said}" for said in outcome.findings.differs]
    lines += ["", "## What the others take", ""]
    for outcome in outcomes:
        if outcome.findings is None and outcome.item.needs:
            lines += [f"- **{outcome.item.name}**: {outcome.item.how}."]
    seen = list(dict.fromkeys(need for item in CATALOG.values() for need in item.needs))
    lines += ["", "| what | address | size | where |", "| --- | --- | --- | --- |"]
    lines += [f"| {n.what} | {n.address} | {n.size} | {n.place} |" for n in seen]
    return "\n".join(lines) + "\n"


def answer(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain values."""
    findings = outcome.findings
    return {
        **describe(outcome.item),
        "outcome": outcome.state,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "same": findings.same if findings is not None else None,
        "rows": []
        if findings is None
        else [
            {
                "what": row.what,
                "paper": row.paper,
                "measured": row.measured,
                "deviation": row.deviation,
                "unit": row.unit,
            }
            for row in findings.rows
        ],
        "differs": [] if findings is None else list(findings.differs),
    }


def describe(item: Item) -> dict[str, Any]:
    """An item as plain values."""
    return {
        "name": item.name,
        "paper": item.paper,
        "title": item.title,
        "state": item.state,
        "how": item.how,
        "offline": item.offline,
        "needs": [
            {"what": n.what, "address": n.address, "size": n.size, "place": n.place}
            for n in item.needs
        ],
        "needs_offline": [
            {"what": n.what, "address": n.address, "size": n.size, "place": n.place}
            for n in item.needs_offline
        ],
    }
