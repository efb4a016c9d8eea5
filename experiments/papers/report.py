"""Outcomes as sections of a page and as JSON, and back; their tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.papers.item import (
    COMMAND,
    PAPERS,
    Compared,
    Findings,
    PaperItem,
    StandIn,
)
from experiments.papers.run import CATALOG, PaperOutcome
from percert.reports.page import Block, Figure, Paragraph, Section, Table
from percert.reports.table import Column


def number(value: float | None, unit: str = "", digits: int = 5) -> str:
    """A number with the digits that count, a share with two decimals; a dash where there is none.

    >>> number(0.02554), number(250 / 3, "%"), number(None), number(2491.13)
    ('0.02554', '83.33 %', '-', '2491.1')
    """
    if value is None:
        return "-"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if unit == "%" else f"{value:.{digits}g}"
    if "e" in text and 1e-4 <= abs(value) < 1e7:
        text = f"{value:.0f}"
    return f"{text} {unit}".strip()


def deviation_words(row: Compared) -> str:
    """Measured less the paper's: of shares in points, of what is far off how many times as much.

    >>> deviation_words(Compared("success", 100.0, 95.5, "%"))
    '-4.5 points'
    >>> deviation_words(Compared("l2", 2.0, 5.0)), deviation_words(Compared("l2", 2.0, None))
    ('+3 (x 2.5)', '')
    """
    if row.deviation is None or row.paper is None or row.measured is None:
        return ""
    sign = "+" if row.deviation > 0 else ""
    if row.unit == "%":
        return f"{sign}{number(row.deviation, row.unit).removesuffix(' %')} points"
    text = f"{row.deviation:.4g} {row.unit}".strip()
    times = row.measured / row.paper if row.paper else 0.0
    far = times > 0 and not 1 / 1.2 < times < 1.2
    return f"{sign}{text} (x {times:.2g})" if far else f"{sign}{text}"


def compared_table(findings: Findings, caption: str = "") -> Table:
    """Numbers beside the paper's, which are as it prints them; of its own the deviation as well."""
    columns: list[Column[Compared]] = [
        Column("", lambda row: row.what),
        Column("paper", printed, side="right"),
        Column("measured", lambda row: number(row.measured, row.unit), side="right"),
    ]
    if findings.same or findings.partly:
        columns.append(Column("deviation", lambda row: _deviation(findings, row), side="right"))
    return Table.of(findings.rows, columns, caption)


def _deviation(findings: Findings, row: Compared) -> str:
    return "" if findings.deviation(row) is None else deviation_words(row)


def stands_table(findings: Findings) -> Table:
    """What stands for what."""
    columns: list[Column[StandIn]] = [
        Column("of the paper", lambda stand: stand.paper),
        Column("here", lambda stand: stand.here),
    ]
    return Table.of(findings.stands, columns)


def printed(row: Compared) -> str | None:
    """The paper's number as it prints it."""
    return None if row.paper is None else f"{row.paper:.10g} {row.unit}".strip()


def made_of(item: PaperItem, findings: Findings) -> str:
    """Whether it is the paper's own or a stand-in, and what it shows then."""
    if findings.same:
        agree = " The numbers have to agree." if findings.rows else ""
        return f"The paper's own: its data, weights, counts and procedure.{agree}"
    if findings.partly:
        some = "In part the paper's own: rows with a deviation, which have to agree."
        return f"{some} The rest is a stand-in. {item.shows}".strip()
    return f"A stand-in. {item.shows}".strip()


def outcome_section(outcome: PaperOutcome) -> Section:
    """One item: its numbers beside the paper's, what differs, and figures."""
    item, findings = outcome.item, outcome.findings
    blocks: list[Block] = [Paragraph(f"{item.title}. {PAPERS[item.paper]}.")]
    if findings is None:
        blocks.append(Paragraph(f"Not made: {outcome.reason}.", "warning"))
    else:
        blocks.append(Paragraph(made_of(item, findings), "note" if findings.same else "warning"))
        if findings.stands:
            blocks.append(stands_table(findings))
        if findings.rows:
            own = findings.same or findings.partly
            deviation = "Deviation is measured less the paper's. " if own else ""
            caption = f"{deviation}A dash: the paper prints nothing, or nothing was measured."
            blocks.append(compared_table(findings, caption))
        blocks += findings.figures
        if findings.differs:
            said = "\n".join(f"- {sentence}" for sentence in findings.differs)
            blocks.append(Paragraph(f"What else to know:\n{said}", "note"))
    blocks.append(needs_paragraph(item))
    return Section(item.name, tuple(blocks))


def how_words(item: PaperItem) -> str:
    """How the paper's own version is made; catalogs say "this" for the command itself.

    >>> from experiments.papers import find_item
    >>> how_words(find_item("lipsim-figure5")).split(";")[0]
    'python -m experiments papers lipsim-figure5 with NIGHT in DATA'
    """
    if item.how.startswith("this with"):
        return f"{' '.join(COMMAND)} {item.name}{item.how.removeprefix('this')}"
    return item.how


def needs_paragraph(item: PaperItem) -> Paragraph:
    """How the paper's own version is made, and what it takes."""
    said = f"The paper's own version: {how_words(item)}."
    if item.needs:
        said += "\nIt takes, in the folder DATA that --data names:"
    for need in item.needs:
        said += f"\n- {need.what}. Address: {need.address}. Size: {need.size}. Where: {need.place}."
    return Paragraph(said)


def summary_table(outcomes: Sequence[PaperOutcome]) -> Table:
    """Every item in a line: what became of it, how long that took, and how it is the paper's."""
    columns: list[Column[PaperOutcome]] = [
        Column("name", lambda outcome: outcome.item.name),
        Column("what", lambda outcome: outcome.item.title),
        Column("status", state_words),
        Column(
            "seconds",
            lambda outcome: outcome.seconds if outcome.state == "made" else None,
            ".0f",
            missing="",
        ),
        Column("made", _made_at),
        Column("to make it the paper's own", _to_be_own),
    ]
    return Table.of(outcomes, columns)


def _made_at(outcome: PaperOutcome) -> str:
    """The day and the commit of what was made."""
    return " ".join(filter(None, (outcome.written[:10], outcome.commit[:10])))


def state_words(outcome: PaperOutcome) -> str:
    """What became of an item, in a few words."""
    if outcome.findings is not None:
        if outcome.findings.same:
            return "the paper's own"
        return "in part the paper's own" if outcome.findings.partly else "stand-in"
    if outcome.state == "not offline":
        return "needs data" if outcome.item.needs else "nothing to run"
    return f"{outcome.state}: {outcome.reason}"


def recorded_words(entry: Mapping[str, Any]) -> str:
    """What became of an item in a run on record, an :func:`answer`, and how long that took.

    >>> recorded_words({"outcome": "made", "same": True, "rows": [], "seconds": 1.7})
    "the paper's own, 2 s"
    """
    if entry["outcome"] != "made":
        return ""
    partly = any(row["deviation"] is not None for row in entry["rows"])
    state = "the paper's own" if entry["same"] else "stand-in"
    if partly and not entry["same"]:
        state = "in part the paper's own"
    return f"{state}, {entry['seconds']:.0f} s"


def _to_be_own(outcome: PaperOutcome) -> str:
    if not outcome.item.run or (outcome.findings is not None and outcome.findings.same):
        return ""
    return how_words(outcome.item)


def counted(outcomes: Sequence[PaperOutcome]) -> str:
    """How many items are what, in a sentence; of several also which others there are."""
    states = Counter(
        "failed or without their data"
        if outcome.state in ("failed", "data missing")
        else state_words(outcome)
        for outcome in outcomes
    )
    said = ", ".join(f"{count} {state}" for state, count in states.items())
    there = {outcome.item.name for outcome in outcomes}
    others = [name for name, item in CATALOG.items() if item.run and name not in there]
    others = others if outcomes[1:] else []
    rest = f" Not made in this folder: {', '.join(others)}." if others else ""
    return f"Of {len(outcomes)} tables and figures: {said}.{rest}"


def answer(outcome: PaperOutcome) -> dict[str, Any]:
    """An outcome as plain values."""
    findings = outcome.findings
    return {
        **describe(outcome.item),
        "outcome": outcome.state,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "command": outcome.command,
        "written": outcome.written,
        "commit": outcome.commit,
        "images": outcome.images,
        "same": findings.same if findings is not None else None,
        "stands": [] if findings is None else [asdict(stand) for stand in findings.stands],
        "rows": []
        if findings is None
        else [
            {
                "what": row.what,
                "paper": row.paper,
                "measured": row.measured,
                "deviation": findings.deviation(row),
                "unit": row.unit,
                "own": row.own,
            }
            for row in findings.rows
        ],
        "differs": [] if findings is None else list(findings.differs),
        "figures": 0 if findings is None else len(findings.figures),
    }


#: In the place of a figure that is only counted.
_ELSEWHERE = Figure(b"\x89PNG", "in report.html", "in report.html")


def answered(entry: Mapping[str, Any]) -> PaperOutcome:
    """The outcome that ``entry``, an :func:`answer`, was; of its figures there is only the count.

    What the catalog says of the item is what it says now.

    >>> entry = answer(PaperOutcome(CATALOG["hpot-table5"], "made", Findings((), ("why",))))
    >>> answer(answered(entry)) == entry, answered(entry).findings.differs
    (True, ('why',))
    """
    rows = (
        Compared(**{key: value for key, value in row.items() if key != "deviation"})
        for row in entry["rows"]
    )
    findings = Findings(
        tuple(rows),
        tuple(entry["differs"]),
        (_ELSEWHERE,) * entry["figures"],
        tuple(StandIn(**stand) for stand in entry["stands"]),
    )
    told = {key: entry[key] for key in ("reason", "seconds", "command", "written", "commit")}
    return PaperOutcome(
        CATALOG[entry["name"]],
        entry["outcome"],
        findings if entry["outcome"] == "made" else None,
        images=entry["images"],
        **told,
    )


def describe(item: PaperItem) -> dict[str, Any]:
    """An item as plain values."""
    return {
        "name": item.name,
        "paper": item.paper,
        "title": item.title,
        "state": item.state,
        "how": item.how,
        "offline": item.offline,
        "shows": item.shows,
        "needs": [
            {"what": n.what, "address": n.address, "size": n.size, "place": n.place}
            for n in item.needs
        ],
        "needs_offline": [
            {"what": n.what, "address": n.address, "size": n.size, "place": n.place}
            for n in item.needs_offline
        ],
    }
