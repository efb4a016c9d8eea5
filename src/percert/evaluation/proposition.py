"""Where LipSim's Proposition 1 holds and where it does not: |d(x, y) - d(x + delta, y)| <= |delta|.

Counted for y = x, as in the paper's Figure 7: images that an attack took farther, by the metric,
than it moved them. The proposition speaks of l2 lengths in the pixels of the image as given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row


@dataclass(frozen=True)
class Violations:
    """How often the proposition did not hold for a metric under one attack.

    ``steepest`` is the largest d / |delta| found: a lower bound of the metric's own Lipschitz
    constant at these images. Whatever exceeds 1 is a violation.
    """

    metric: str
    norm: str
    eps: float
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
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["norm"], row["eps"]), []).append(row)
    found = []
    for (metric, norm, eps), some in groups.items():
        slopes = [row["distance"] / row["l2"] if row["l2"] else 0.0 for row in some]
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
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="|delta|, l2 in pixels",
        ylabel="d(x, x + delta)",
    )
    axis.legend(frameon=False, fontsize=8, loc="best")
    return figure_png(figure)
