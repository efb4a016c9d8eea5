"""The page ``reproduce.md``: what is claimed and what is found first, then every item by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.papers.found import claims
from experiments.papers.item import PAPERS, Need, PaperItem
from experiments.papers.report import (
    answered,
    compared_table,
    counted,
    how_words,
    made_of,
    stands_table,
    summary_table,
)
from experiments.papers.run import PaperOutcome
from percert.reports.page import rerun
from percert.reports.table import Column, Table

_KEY = (
    "**The paper's own**: data, weights (by their digest), counts and procedure are the paper's, "
    "and the numbers have to agree; **deviation** is measured less the paper's, of shares in "
    "percentage points. **Stand-in**: something is not, and a table says what stands for what. The "
    "paper's numbers are beside the measured ones for their size and order, and there is no "
    "deviation, since another quantity was measured. A dash stands where the paper prints nothing, "
    "or nothing was measured. Seconds are those of the clock, beside whatever else ran, without "
    "what was there already: attacked photographs and judged triplets are kept from item to item "
    "and from run to run."
)
_ABOUT = (
    "Each table and figure of *LipSim: A Provably Robust Perceptual Similarity Metric* "
    "(`lipsim-...`) and of *Human Imperceptible Attacks and Applications to Improve Fairness* "
    "(`hpot-...`): what was made of it with the data at hand and weights that packages carry, "
    "beside what the paper prints. Nearly all are stand-ins: the same code answers the same "
    "question with something in another's place, and each says what that shows. How to put the "
    "papers' own data in, `docs/how-to/reproduce-the-papers.md` says."
)
_CLAIMS = (
    "The papers' numbers beside those of the stand-ins below: whether the same thing is seen, not "
    "whether the numbers agree. How many triplets and photographs there are, each item says; a "
    "share of 24 triplets is uncertain by 20 points."
)


def page(found: Mapping[str, Any]) -> str:
    """The page of what a run has left in ``reproduce.json``."""
    return markdown([answered(entry) for entry in found["items"]], found["run"])


def markdown(outcomes: Sequence[PaperOutcome], record: Mapping[str, Any] | None) -> str:
    """What the papers claim and what is found, every item in a line, then each by itself."""
    lines = ["# The papers' tables and figures, as far as they can be made here", "", _ABOUT, ""]
    told_first = claims(outcomes)
    if told_first:
        lines += ["## What the papers claim, and what is found", "", _CLAIMS, "", told_first, ""]
    lines += ["## Every table and figure", "", counted(outcomes), "", _KEY, ""]
    lines += summary_table(outcomes).markdown().splitlines()
    if record is not None:
        lines += ["", "## How it was made", "", *_how(record, outcomes)]
    whole = "" if record is None else rerun(record)
    told: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.findings is not None:
            lines += _made(outcome, told, whole)
    others = [o for o in outcomes if o.findings is None and o.item.needs]
    if others:
        lines += ["", "## What was not made", ""]
        lines += [f"- **{o.item.name}**: {_why(o)}To make it: {how_words(o.item)}." for o in others]
    if outcomes[1:]:
        lines += ["", *BEYOND]
    return "\n".join([*lines, *_downloads([o.item for o in outcomes])]) + "\n"


#: Other commands of the same papers, and the pages that they write.
BEYOND = (
    "## Beyond these tables and figures",
    "",
    "- `python -m experiments papers.hpot.on_photographs`: every attack of the second paper and of "
    "percert on as many of its photographs as there is time for, with what rounding and defences "
    "leave of each, and **how well attacked files are detected** (`human-perc-ot.md`).",
    "- `python -m experiments papers.lipsim.named`: what LipSim names and does not measure: "
    "E-LPIPS, SWD, an attack on similarity (Luo et al. 2022), and **feature inversion** "
    "(`named-metrics.md`).",
    "- `python -m experiments fairness.dro`: section 4 with many models a set "
    "(`dro-fairness.md`); `people.attacks`: attacks judged by what people notice "
    "(`people-attacks.md`).",
)


def _how(record: Mapping[str, Any], outcomes: Sequence[PaperOutcome]) -> list[str]:
    """The last run, its conditions, and how long all items took, in however many runs."""
    versions = record.get("versions") or {}
    seconds = sum(outcome.seconds for outcome in outcomes)
    commits = {outcome.commit for outcome in outcomes if outcome.findings is not None}
    at = f"commit {record.get('commit')}"
    if len(commits) > 1:
        at = "each item at the commit that the table names"
    commands = {outcome.command for outcome in outcomes if outcome.findings is not None}
    on, minutes = str(record.get("written"))[:10], f"{seconds / 60:.0f} minutes"
    by = f"Made on {on}, in {minutes}, by"
    if len(commands) > 1:
        by = f"Made by {len(commands)} commands, in {minutes}; the last of them, on {on}:"
    lines = [
        by,
        "",
        "```console",
        f"$ {rerun(record)}",
        "```",
        "",
        f"Seed {record.get('seed')}, on {record.get('device')}, {at}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
    ]
    if record.get("finished") is False:
        lines += ["", "**The run is not finished**: the same command goes on with it."]
    return lines


def _made(outcome: PaperOutcome, told: dict[str, str], whole: str) -> list[str]:
    """An item's section. What an earlier one has ``told`` (by whom) is not told once more.

    ``whole`` is the command that made the page.
    """
    item, findings = outcome.item, outcome.findings
    assert findings is not None
    lines = ["", f"## {item.name}", "", f"{PAPERS[item.paper]}: {item.title}.", ""]
    lines += [f"*{made_of(item, findings)}*", ""]
    if findings.stands:
        lines += [*stands_table(findings).markdown().splitlines(), ""]
    if findings.rows:
        lines += [*compared_table(findings).markdown().splitlines(), ""]
    if outcome.command not in ("", whole):
        lines += [f"Made by `{outcome.command}`.", ""]
    if findings.figures:
        count = len(findings.figures)
        lines += [f"{count} {'figure' if count == 1 else 'figures'}, in report.html.", ""]
    if findings.differs:
        lines += ["What else to know:", ""]
        lines += [f"- {said}" for said in findings.differs if said not in told]
        before = list(dict.fromkeys(told[said] for said in findings.differs if said in told))
        if before:
            lines += [f"- What is said of the same things under {' and '.join(before)}."]
        told.update({said: item.name for said in findings.differs if said not in told})
    return lines


def _why(outcome: PaperOutcome) -> str:
    return f"{outcome.reason}. " if outcome.reason and outcome.reason != outcome.item.how else ""


NEEDS: list[Column[Need]] = [
    Column("what", lambda need: need.what),
    Column("address", lambda need: need.address),
    Column("size", lambda need: need.size),
    Column("where", lambda need: need.place),
]


def _downloads(items: Sequence[PaperItem]) -> list[str]:
    needs = list(dict.fromkeys(need for item in items for need in item.needs))
    if not needs:
        return []
    return [
        "",
        "## What the papers' own versions take",
        "",
        *Table.of(needs, NEEDS).markdown().splitlines(),
    ]
