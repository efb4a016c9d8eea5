"""What a 2AFC evaluation shows: tables of scores, a picture of them, and the page with both."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from percert.evaluation.twoafc import CLEAN
from percert.evaluation.twoafc_scores import TwoAFCScores, effort
from percert.reports.page import Figure, Paragraph, Section, Table, write_page, write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row

#: What stands where nothing can be said.
NOTHING = "-"


def natural_table(scores: Sequence[TwoAFCScores]) -> Table:
    """Natural and certified scores in percent, a row a group (LipSim, Tables 2 and 4)."""
    eps = [entry.eps for entry in scores[0].certified]
    proven = any(entry.ours is not None for group in scores for entry in group.certified)
    by_paper = any(entry.paper is not None for group in scores for entry in group.certified)
    columns = [("triplets", "left"), ("count", "right"), ("natural", "right")]
    columns += [(f"certified {shown(value)}", "right") for value in eps] if proven else []
    columns += [(f"paper's {shown(value)}", "right") for value in eps] if by_paper else []
    columns += [("median radius", "right")] if proven else []
    rows = []
    for group in scores:
        row = [group.name, str(group.triplets), percent(group.natural)]
        row += [percent(entry.ours) for entry in group.certified] if proven else []
        row += [percent(entry.paper) for entry in group.certified] if by_paper else []
        row += [number(group.radius_median)] if proven else []
        rows.append(tuple(row))
    return Table(
        tuple(columns),  # type: ignore[arg-type]  # left and right, as written above
        tuple(rows),
        "Scores in percent. Certified: proven within that l2 distance, by the exact radius"
        + (" and by Eq. 8 of the paper." if by_paper else "."),
    )


def attacked_table(scores: Sequence[TwoAFCScores]) -> Table | None:
    """What is left under attack, in percent: a row a budget and attack (Tables 1 and 3)."""
    if not scores[0].attacked:
        return None
    columns = (
        ("budget", "left"),
        ("attack", "left"),
        *((group.name, "right") for group in scores),
    )
    rows = []
    for place, entry in enumerate(scores[0].attacked):
        budget = f"{entry.norm} {shown(entry.eps)}"
        at = [group.attacked[place] for group in scores]
        lines = [
            (attack, [other.by_attack.get(attack) for other in at]) for attack in entry.by_attack
        ]
        lines.append(("worst of all", [other.worst for other in at]))
        if entry.certified is not None:
            lines.append(("certified", [other.certified for other in at]))
        rows += [(budget, attack, *map(percent, values)) for attack, values in lines]
    return Table(
        columns,  # type: ignore[arg-type]  # left and right, as written above
        tuple(rows),
        "Scores in percent that attacks leave. Worst of all: a triplet counts as turned round "
        "where any attack found an image within the budget. Certified: no attack gets below it.",
    )


def effort_table(rows: Sequence[Row]) -> Table:
    """Seconds and model calls an attacked triplet."""
    found = effort(rows)
    return Table(
        (("attack", "left"), ("s/triplet", "right"), ("calls/triplet", "right")),
        tuple(
            (attack, number(cost["seconds"]), number(cost["model_calls"]))
            for attack, cost in found.items()
        ),
        "Means over attacked triplets. A call is one image passed through the metric.",
    )


def score_figure(scores: TwoAFCScores, rows: Sequence[Row], perturbed: str) -> bytes:
    """Scores against the l2 budget: certified as curves, attacks as points, natural as a line."""
    figure, axis = new_figure()
    clean = [row for row in rows if row["attack"] == CLEAN]
    points = [entry for entry in scores.attacked if entry.norm == "l2"]
    reach = max(
        [entry.eps for entry in (*scores.certified, *points)]
        + [1.2 * (scores.radius_median or 0)]
        + [1e-3]
    )
    axis.axhline(100 * scores.natural, color="0.45", ls=":", lw=1.5, label="natural")
    for name, column, colour in (
        ("certified", "radius", COLOURS[0]),
        ("certified, paper's radius", "radius_paper", COLOURS[5]),
    ):
        if any(row[column] is not None for row in clean):
            at = np.linspace(0, reach, 240)
            axis.plot(at, 100 * certified_curve(clean, column, at), color=colour, lw=2, label=name)
    attacks = list(dict.fromkeys(name for entry in points for name in entry.by_attack))
    families = {name: _family(name) for name in attacks}
    for place, family in enumerate(dict.fromkeys(families.values())):
        found = [
            (entry.eps, 100 * value)
            for entry in points
            for name, value in entry.by_attack.items()
            if families[name] == family
        ]
        axis.plot(
            *zip(*sorted(found), strict=True),
            marker="osD^vP*X"[place % 8],
            ms=5,
            lw=0.8,
            ls="--",
            color=COLOURS[1 + place % (len(COLOURS) - 1)],
            label=family,
        )
    if points:
        axis.plot(
            [entry.eps for entry in points],
            [100 * entry.worst for entry in points],
            "k-",
            lw=1.5,
            label="worst of all attacks",
        )
    axis.set(
        xlabel=f"l2 budget of {'each image' if perturbed != 'reference' else 'the reference'}",
        ylabel="2AFC score (%)",
        ylim=(-2, 102),
        xlim=(0, reach),
    )
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    return figure_png(figure)


def certified_curve(
    clean: Sequence[Row], column: str, at: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """The certified score at each budget of ``at``, in [0, 1], from clean rows."""
    radius = np.array([-1.0 if row[column] is None else row[column] for row in clean])
    credit = np.array([_credits(row) for row in clean])
    held = radius[None, :] > at[:, None]
    curve: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.where(
        held, credit[:, 0], credit[:, 1]
    ).mean(1)
    return curve


def write_twoafc_report(
    out: Path,
    scores: Sequence[TwoAFCScores],
    rows: Sequence[Row],
    answer: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write ``report.html`` and ``scores.json`` into ``out``, each whole or not at all."""
    write_whole(out / "scores.json", (json.dumps(finite(answer), indent=2) + "\n").encode())
    moves = {
        "reference": "the reference alone moves, as in the paper",
        "candidates": "both candidates move, each within the budget",
        "all": "all three images move, each within the budget",
    }[answer["perturbed"]]
    proven = scores[0].radius_median is not None
    blocks: list[Paragraph | Table | Figure] = [natural_table(scores)]
    if proven:
        blocks.append(
            Paragraph(
                "For every triplet, certified <= empirical <= natural was checked, at every budget "
                "and with both radii.",
                "note",
            )
        )
    figure = Figure(
        score_figure(scores[0], rows, answer["perturbed"]),
        "All triplets, against the l2 budget.",
        "Curves of certified scores below points of scores under attack below the natural score.",
    )
    sections = [Section("Scores", (*blocks, figure))]
    under_attack = attacked_table(scores)
    if under_attack is not None:
        sections.append(Section("Under attack", (under_attack, effort_table(rows))))
    how = Table(
        (("setting", "left"), ("value", "left")),
        tuple((name, str(value)) for name, value in settings.items()),
        "How it was made; run.json has the command, the versions and the time.",
    )
    sections.append(Section("How it was made", (how,)))
    size = {(row["height"], row["width"]) for row in rows}
    sizes = " and ".join(f"{h} x {w}" for h, w in sorted(size)[:3])
    more = f" and {len(size) - 3} more sizes" if len(size) > 3 else ""
    write_page(
        out / "report.html",
        f"2AFC: {answer['metric']}",
        sections,
        lead=f"{scores[0].triplets} triplets of {answer['source']}, images of {sizes}{more}; "
        f"{moves}. Budgets are lengths in these pixels, values in [0, 1].",
    )


def shown(eps: float) -> str:
    """A budget as people write it.

    >>> shown(36 / 255), shown(0.5), shown(8 / 255)
    ('36/255', '0.5', '8/255')
    """
    levels = 255 * eps
    if eps and abs(levels - round(levels)) < 1e-6 and abs(100 * eps - round(100 * eps)) > 1e-9:
        return f"{round(levels)}/255"
    return f"{eps:.4g}"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def finite(value: Any) -> Any:
    """``value`` with what JSON cannot hold as ``None``."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _family(attack: str) -> str:
    """An attack without its budget: the points of one line."""
    name, _, settings = attack.partition(":")
    kept = [
        part for part in settings.split(",") if part and part.split("=")[0] not in ("eps", "norm")
    ]
    return f"{name} {' '.join(kept)}".strip()


def _credits(row: Row) -> tuple[float, float]:
    """What a triplet counts for with the metric's choice, and with the worse one."""
    right = float(row["label"] or 0) if row["share"] is None else row["share"]
    sides = (1 - right, right)
    choice = row["clean_prediction"]
    return (0.5 if choice is None else sides[choice]), min(sides)
