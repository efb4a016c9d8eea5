"""The distribution of d(x, x + delta) as numbers and pictures, and the page with them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from percert.evaluation.proposition import count_violations, violation_figure, violations_table
from percert.evaluation.twoafc_report import NOTHING, number, shown
from percert.reports.finite import finite
from percert.reports.page import Figure, Paragraph, Section, Table, write_page, write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row

#: Bins of a histogram.
BINS = 40


@dataclass(frozen=True)
class Moved:
    """How far one attack took one metric: quantiles of d(x, x + delta) over the images.

    ``bound_reached`` is the largest share that a distance came to of what it is certified to stay
    below, where there is proof: at most 1.
    """

    metric: str
    norm: str
    eps: float
    images: int
    mean: float
    median: float
    quantile_95: float
    most: float
    bound_reached: float | None


def summarise_stability(rows: Iterable[Row]) -> list[Moved]:
    """One summary for each metric and budget, in the order of ``rows``.

    >>> row = {"metric": "m", "norm": "l2", "eps": 1.0, "distance": 0.2, "upper": None}
    >>> summarise_stability([row, {**row, "distance": 0.4}])[0].most
    0.4
    """
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["norm"], row["eps"]), []).append(row)
    found = []
    for (metric, norm, eps), some in groups.items():
        distance = np.array([row["distance"] for row in some])
        proven = all(row["upper"] is not None for row in some)
        found.append(
            Moved(
                metric=metric,
                norm=norm,
                eps=eps,
                images=len(some),
                mean=float(distance.mean()),
                median=float(np.median(distance)),
                quantile_95=float(np.quantile(distance, 0.95)),
                most=float(distance.max()),
                bound_reached=max(row["distance"] / row["upper"] for row in some)
                if proven
                else None,
            )
        )
    return found


def moved_table(moved: Sequence[Moved]) -> Table:
    """The summaries as a table."""
    return Table(
        (
            ("metric", "left"),
            ("budget", "left"),
            ("images", "right"),
            ("mean", "right"),
            ("median", "right"),
            ("95 %", "right"),
            ("most", "right"),
            ("of its bound", "right"),
        ),
        tuple(
            (
                entry.metric,
                f"{entry.norm} {shown(entry.eps)}",
                str(entry.images),
                *map(number, (entry.mean, entry.median, entry.quantile_95, entry.most)),
                NOTHING if entry.bound_reached is None else f"{100 * entry.bound_reached:.1f} %",
            )
            for entry in moved
        ),
        "d(x, x + delta) over the images. Of its bound: the largest share that a distance came to "
        "of what no change of that length can exceed, by the certificate.",
    )


def distance_figure(rows: Sequence[Row]) -> bytes:
    """Histograms of d(x, x + delta), a panel a budget, a colour a metric (Figures 3b and 6)."""
    budgets = list(dict.fromkeys((row["norm"], row["eps"]) for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    figure, axes = new_figure(7.0, 1.4 + 2.3 * len(budgets), nrows=len(budgets), squeeze=False)
    for axis, (norm, eps) in zip(axes[:, 0], budgets, strict=True):
        here = [row for row in rows if (row["norm"], row["eps"]) == (norm, eps)]
        edges = np.linspace(0, max(row["distance"] for row in here) * 1.02 + 1e-9, BINS + 1)
        for place, metric in enumerate(metrics):
            some = [row["distance"] for row in here if row["metric"] == metric]
            axis.hist(
                some,
                edges,
                color=COLOURS[place % len(COLOURS)],
                alpha=0.55,
                label=f"{metric}, mean {number(float(np.mean(some)))}" if some else metric,
            )
        axis.set(xlabel="d(x, x + delta)", ylabel="images", title=f"{norm} {shown(eps)}")
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False, fontsize=8)
    return figure_png(figure)


def write_stability_report(
    out: Path, rows: Sequence[Row], answer: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Write ``report.html`` and ``stability.json`` into ``out``, each whole or not at all."""
    write_whole(out / "stability.json", (json.dumps(finite(answer), indent=2) + "\n").encode())
    moved, violations = summarise_stability(rows), count_violations(rows)
    total = sum(entry.violations for entry in violations)
    sections = [
        Section(
            "Distances under attack",
            (
                moved_table(moved),
                Figure(
                    distance_figure(rows),
                    "The distribution of d(x, x + delta), of all images of a budget.",
                    "Histograms of distances, a panel a budget and a colour a metric.",
                ),
            ),
        ),
        Section(
            "Proposition 1",
            (
                Paragraph(
                    "LipSim's Proposition 1 says that a distance cannot change by more than the "
                    f"l2 length of the change of the image. {total} of {len(rows)} attacked images "
                    "violate it.",
                    "warning" if total else "note",
                ),
                violations_table(violations),
                Figure(
                    violation_figure(rows),
                    "Every attacked image; above the dashed line the proposition is violated.",
                    "Distances against the length of the change, and the line where both agree.",
                ),
            ),
        ),
        Section(
            "How it was made",
            (
                Table(
                    (("setting", "left"), ("value", "left")),
                    tuple((name, str(value)) for name, value in settings.items()),
                    "run.json has the command, the versions and the time.",
                ),
            ),
        ),
    ]
    write_page(
        out / "report.html",
        "How far an attack on the embedding moves a metric",
        sections,
        lead=f"{len({row['image'] for row in rows})} images of {answer['source']}; projected "
        "gradient ascent on the squared distance of embeddings (LipSim, Eq. 14).",
    )


def stability_answer(rows: Sequence[Row]) -> dict[str, Any]:
    """What JSON says of ``rows``."""
    return {
        "moved": [asdict(entry) for entry in summarise_stability(rows)],
        "violations": [asdict(entry) for entry in count_violations(rows)],
    }
