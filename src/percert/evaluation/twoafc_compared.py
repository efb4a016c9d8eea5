"""Several metrics on the same triplets, side by side: LipSim's Tables 1 to 4."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from percert.evaluation.twoafc_report import percent, short, shown
from percert.evaluation.twoafc_scores import WORST, TwoAFCScores
from percert.reports.finite import finite
from percert.reports.page import Section, Table, write_page, write_whole

#: The scores of every metric, by its name: all triplets first, then the groups.
Named = Mapping[str, Sequence[TwoAFCScores]]


def folder_of(metric: str) -> str:
    """What the folder of a metric is called, whatever its name holds.

    >>> folder_of("lipsim-tiny"), folder_of("./runs/mine")
    ('lipsim-tiny', 'runs-mine')
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", metric).strip("-.") or "metric"


def compared_tables(named: Named) -> list[Table]:
    """Natural scores by group, certified ones, and what each attack leaves, a row a metric.

    The tables of certified scores have the metrics with a proof alone; those of attacks are one an
    attack, with all budgets, and at the end the worst case of all attacks.
    """
    groups = list(dict.fromkeys(entry.name for scores in named.values() for entry in scores))
    tables = [
        Table(
            (("metric", "left"), *((group, "right") for group in groups)),
            tuple(
                (metric, *(percent(_natural(scores, group)) for group in groups))
                for metric, scores in named.items()
            ),
            "Natural scores in percent: all triplets, and by group (LipSim, Table 4).",
        )
    ]
    for radius, of in (("ours", "the exact radius"), ("paper", "the paper's radius, Eq. 8")):
        rows = tuple(
            (metric, *(percent(getattr(entry, radius)) for entry in scores[0].certified))
            for metric, scores in named.items()
            if any(getattr(entry, radius) is not None for entry in scores[0].certified)
        )
        if rows:
            eps = [entry.eps for entry in next(iter(named.values()))[0].certified]
            tables.append(
                Table(
                    (("metric", "left"), *((shown(value), "right") for value in eps)),
                    rows,
                    f"Certified scores in percent, by {of} (Table 2).",
                )
            )
    return tables + _attacked(named)


def _attacked(named: Named) -> list[Table]:
    by_metric = {metric: _left(scores[0]) for metric, scores in named.items()}
    attacks = list(dict.fromkeys(attack for found in by_metric.values() for attack in found))
    attacks.sort(key=lambda attack: attack == WORST)
    tables = []
    for attack in attacks:
        some = {metric: found.get(attack, {}) for metric, found in by_metric.items()}
        budgets = list(dict.fromkeys(budget for found in some.values() for budget in found))
        tables.append(
            Table(
                (
                    ("metric", "left"),
                    ("natural", "right"),
                    *((f"{norm} {shown(eps)}", "right") for norm, eps in budgets),
                ),
                tuple(
                    (
                        metric,
                        percent(named[metric][0].natural),
                        *(percent(found.get(budget)) for budget in budgets),
                    )
                    for metric, found in some.items()
                    if found
                ),
                f"Scores in percent under attack (Tables 1 and 3): {attack}.",
            )
        )
    return tables


def _left(scores: TwoAFCScores) -> dict[str, dict[tuple[str, float], float]]:
    """The score that each attack leaves at each (norm, eps), and all of them together."""
    found: dict[str, dict[tuple[str, float], float]] = {}
    for entry in scores.attacked:
        budget = (entry.norm, entry.eps)
        for attack, value in entry.by_attack.items():
            found.setdefault(short(attack), {})[budget] = value
        found.setdefault(WORST, {})[budget] = entry.worst
    return found


def _natural(scores: Sequence[TwoAFCScores], group: str) -> float | None:
    return next((entry.natural for entry in scores if entry.name == group), None)


def write_compared(out: Path, named: Named, answer: Mapping[str, Any], lead: str) -> None:
    """Write ``report.html`` and ``scores.json`` of several metrics into ``out``."""
    write_whole(out / "scores.json", (json.dumps(finite(answer), indent=2) + "\n").encode())
    tables = compared_tables(named)
    write_page(
        out / "report.html",
        f"2AFC: {', '.join(named)}",
        [Section("Side by side", tuple(tables))],
        lead=lead,
    )
