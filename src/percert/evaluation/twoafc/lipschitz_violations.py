"""Where LipSim's Proposition 1 holds and where it does not: |d(x, y) - d(x + delta, y)| <= |delta|.

Counted for y = x, as in the paper's Figure 7: images that an attack took farther, by the metric,
than it moved them; and, of triplets under attack, for the two candidates as y as well. The
proposition speaks of l2 lengths in the pixels of the image as given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from percert.evaluation.twoafc.evaluate import CLEAN
from percert.evaluation.twoafc.report import shown
from percert.reports.page import Figure, Paragraph, Section
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row
from percert.reports.table import Column, Table, number

_SIDES = ("distance_left", "distance_right")


@dataclass(frozen=True)
class Violations:
    """How often the proposition did not hold for a metric within one budget.

    ``eps`` is ``None`` for attacks that look for the least change.
    ``steepest`` is the largest d / |delta| found: a lower bound of the metric's own Lipschitz
    constant at these images. Whatever exceeds 1 is a violation.
    """

    metric: str
    norm: str
    eps: float | None
    images: int
    violations: int
    steepest: float
    worst_image: str


def count_violations(rows: Iterable[Row]) -> list[Violations]:
    """One count for each metric and budget, in the order of ``rows``.

    ``rows`` are those of :func:`~percert.evaluation.stability.evaluate_stability`.

    >>> row = {"metric": "m", "norm": "l2", "eps": 0.5, "image": "a", "distance": 0.6, "l2": 0.5}
    >>> (found,) = count_violations([row, {**row, "image": "b", "distance": 0.1}])
    >>> found.violations, found.images, found.steepest, found.worst_image
    (1, 2, 1.2, 'a')
    """
    groups: dict[tuple[str, str, float | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["norm"], row["eps"]), []).append(row)
    found = []
    for (metric, norm, eps), some in groups.items():
        slopes = [_slope(row) for row in some]
        worst = int(np.argmax(slopes))
        found.append(
            Violations(
                metric=metric,
                norm=norm,
                eps=eps,
                images=len(some),
                violations=sum(slope > 1 for slope in slopes),
                steepest=slopes[worst],
                worst_image=some[worst]["image"],
            )
        )
    return found


def _slope(row: Row) -> float:
    return float(row["distance"] / row["l2"]) if row["l2"] else 0.0


def moved_references(rows: Sequence[Row], metric: str, perturbed: str = "reference") -> list[Row]:
    """How far attacks on triplets took the metric: a row a triplet and budget, the steepest.

    ``rows`` are those of :func:`~percert.evaluation.twoafc.evaluate.evaluate_twoafc`. ``distance``
    is the
    largest |d(x, y) - d(x + delta, y)|, for y = x and, where the reference alone moved, for both
    candidates; ``l2`` that of delta. There are none where the reference stays.
    """
    clean = {row["image"]: row for row in rows if row["attack"] == CLEAN}
    found: dict[tuple[str, str, float | None], Row] = {}
    for row in rows:
        if not row["attacked"] or row["distance_moved"] is None:
            continue
        changes = [row["distance_moved"]]
        if perturbed == "reference":
            before = clean[row["image"]]
            changes += [abs(row[side] - before[side]) for side in _SIDES]
        moved = {
            "metric": metric,
            "norm": row["norm"],
            "eps": row["eps"],
            "image": row["image"],
            "distance": max(changes),
            "l2": row["l2"],
        }
        key = (row["image"], row["norm"], row["eps"])
        if key not in found or _slope(moved) > _slope(found[key]):
            found[key] = moved
    return list(found.values())


#: What of triplets the proposition is held to.
OF_TRIPLETS = (
    "Here it is held to the distances to the candidates and to the reference as it was, under "
    "attack. "
)


def proposition_section(moved: Sequence[Row], held_to: str = "") -> Section | None:
    """What a page says of rows with a ``distance`` and an ``l2`` each; ``held_to`` what they are.

    ``None`` where there are none, as there may be of :func:`moved_references`.
    """
    if not moved:
        return None
    violations = count_violations(moved)
    total = sum(entry.violations for entry in violations)
    return Section(
        "Proposition 1",
        (
            Paragraph(
                "LipSim's Proposition 1 says that a distance changes by no more than the l2 length "
                f"of the change of the image. {held_to}{total} of {len(moved)} violate it.",
                "warning" if total else "note",
            ),
            violations_table(violations),
            Figure(
                violation_figure(moved),
                "Every attacked image; above the dashed line the proposition is violated.",
                "Distances against the length of the change, and the line where both agree.",
            ),
        ),
    )


VIOLATIONS: tuple[Column[Violations], ...] = (
    Column("metric", lambda one: one.metric),
    Column("budget", lambda one: f"{one.norm} " + ("least" if one.eps is None else shown(one.eps))),
    Column("violations", lambda one: f"{one.violations} of {one.images}", side="right"),
    Column("steepest d / |delta|", lambda one: one.steepest, number),
    Column("at", lambda one: one.worst_image),
)


def violations_table(violations: Sequence[Violations]) -> Table:
    """The counts as a table."""
    caption = "Images that the metric takes to have moved farther than they did, in l2 and pixels."
    return Table.of(violations, VIOLATIONS, caption)


def violation_figure(rows: Sequence[Row]) -> bytes:
    """d(x, x + delta) against |delta| in l2, a dot an image; above the line it is violated."""
    figure, axis = new_figure()
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    for place, metric in enumerate(metrics):
        some = [row for row in rows if row["metric"] == metric]
        violated = sum(row["distance"] > row["l2"] for row in some)
        axis.plot(
            [row["l2"] for row in some],
            [max(row["distance"], 1e-9) for row in some],
            "osD^v"[place % 5],
            ms=4.5,
            mew=0,
            alpha=0.6,
            color=COLOURS[place % len(COLOURS)],
            label=f"{metric}: {violated} of {len(some)} violate it",
        )
    least = min((row["l2"] for row in rows if row["l2"] > 0), default=0.1)
    most = max((row["l2"] for row in rows), default=1.0)
    ends = np.array([0.8 * least, 1.25 * most])
    axis.plot(ends, ends, color="0.3", lw=1.2, ls="--", label="Proposition 1: d = |delta|")
    axis.set(xscale="log", yscale="log", xlabel="|delta|, l2 in pixels", ylabel="d(x, x + delta)")
    axis.legend(frameon=False, fontsize=8, loc="best")
    return figure_png(figure)
