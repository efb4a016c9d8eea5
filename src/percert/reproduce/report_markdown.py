"""Outcomes as a page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from percert.reports.report_how import rerun
from percert.reproduce.item import PAPERS, Item
from percert.reproduce.report import HEADINGS, cells, how_words, made_of, state_words
from percert.reproduce.run import Outcome

_KEY = (
    "**Stand-in**: networks or images are others than the paper's. The numbers are beside one "
    "another and need not agree; under each table it says what differs. **Deviation** is measured "
    "less the paper's, of shares in percentage points. A dash stands where the paper prints "
    "nothing, or nothing was measured."
)


def markdown(outcomes: Sequence[Outcome], record: Mapping[str, Any] | None) -> str:
    """All outcomes, with how they were made at the top and what others take at the end."""
    lines = ["# The papers' tables and figures, as far as they can be made here", ""]
    if record is not None:
        lines += [*_how(record, sum(o.seconds for o in outcomes)), ""]
    lines += [_KEY, "", "| name | what | state | seconds |", "| --- | --- | --- | ---: |"]
    for o in outcomes:
        seconds = f"{o.seconds:.0f}" if o.state == "made" else ""
        lines += [f"| {o.item.name} | {o.item.title} | {state_words(o)} | {seconds} |"]
    told: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.findings is not None:
            lines += _made(outcome, told)
    others = [o for o in outcomes if o.findings is None and o.item.needs]
    if others:
        lines += ["", "## What was not made", ""]
        lines += [f"- **{o.item.name}**: {_why(o)}To make it: {how_words(o.item)}." for o in others]
    return "\n".join([*lines, *_downloads([o.item for o in outcomes])]) + "\n"


def _how(record: Mapping[str, Any], seconds: float) -> list[str]:
    """``seconds``: of all items together, in however many runs they were made."""
    versions = record.get("versions") or {}
    lines = [
        f"Made on {str(record.get('written'))[:10]}, in {seconds / 60:.0f} minutes, by",
        "",
        "```console",
        f"$ {rerun(record)}",
        "```",
        "",
        f"Seed {record.get('seed')}, on {record.get('device')}, commit {record.get('commit')}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
    ]
    if record.get("finished") is False:
        lines += ["", "**The run is not finished**: the same command goes on with it."]
    return lines


def _made(outcome: Outcome, told: dict[str, str]) -> list[str]:
    """An item's section. What an earlier one has ``told`` (by whom) is not told once more."""
    item, findings = outcome.item, outcome.findings
    assert findings is not None
    lines = ["", f"## {item.name}", "", f"{PAPERS[item.paper]}: {item.title}.", ""]
    lines += [f"*{made_of(outcome)}*", ""]
    if findings.rows:
        lines += ["| " + " | ".join(HEADINGS) + " |", "| --- | ---: | ---: | ---: |"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in findings.rows]
        lines += [""]
    if findings.figures:
        count = len(findings.figures)
        lines += [f"{count} {'figure' if count == 1 else 'figures'}, in report.html.", ""]
    if findings.differs:
        lines += ["What differs from the paper, and what else to know:", ""]
        lines += [f"- {said}" for said in findings.differs if said not in told]
        before = list(dict.fromkeys(told[said] for said in findings.differs if said in told))
        if before:
            lines += [f"- What is said of the same things under {' and '.join(before)}."]
        told.update({said: item.name for said in findings.differs if said not in told})
    return lines


def _why(outcome: Outcome) -> str:
    return f"{outcome.reason}. " if outcome.reason and outcome.reason != outcome.item.how else ""


def _downloads(items: Sequence[Item]) -> list[str]:
    needs = list(dict.fromkeys(need for item in items for need in item.needs))
    if not needs:
        return []
    return [
        "",
        "## What the papers' own versions take",
        "",
        "| what | address | size | where |",
        "| --- | --- | --- | --- |",
        *(f"| {n.what} | {n.address} | {n.size} | {n.place} |" for n in needs),
    ]
