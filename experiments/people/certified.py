"""People's votes on triplets, certified: LipSim's Table 2 on a set of votes that is at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from percert.data.triplets import Triplet
from percert.evaluation.twoafc.report import percent, shown
from percert.evaluation.twoafc.run import TwoAFCSettings, evaluate_metric
from percert.reports.table import Column, Table
from percert.runs.engine import Progress, silent

#: l2 budgets in the pictures' own pixels: the paper's, and two larger ones.
EPS = (36 / 255, 72 / 255, 108 / 255, 1.0, 4.0)
#: What proves something and needs no file; of the thumbnails of several sizes two.
PROVEN = ("lipsim-tiny", "lipsim-tiny-1", "thumbnail", "thumbnail-16")


def certified_votes(
    triplets: Sequence[Triplet],
    models: Mapping[str, str],
    source: str,
    runs: Path,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Natural and certified scores of ``models``, what each is called and the metric's name.

    The reference moves. A name may be the folder of a trained model; a run that was stopped goes
    on.
    """
    asked = TwoAFCSettings(source=source, triplets=triplets, eps=EPS, settings={"source": source})
    found = []
    for called, name in models.items():
        (scores, *_) = evaluate_metric(asked, name, None, runs / called, progress).scores
        found.append({"model": called, **asdict(scores)})
    return found


def votes_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row a model, the best natural score first; in brackets what Eq. 8 of LipSim proves."""

    def at(place: int) -> Column[Mapping[str, Any]]:
        def cell(row: Mapping[str, Any]) -> str:
            one = row["certified"][place]
            theirs = "" if one["paper"] is None else f" ({percent(one['paper'])})"
            return percent(one["ours"]) + theirs

        return Column(f"certified {shown(EPS[place])}", cell)

    return Table.of(
        sorted(rows, key=lambda row: -row["natural"]),
        [
            Column("metric", lambda row: f"`{row['model']}`"),
            Column("natural", lambda row: row["natural"], percent),
            *(at(place) for place in range(len(EPS))),
            Column("median radius", lambda row: row["radius_median"], ".3f"),
        ],
    )
