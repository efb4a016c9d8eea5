"""What became of attacks judged by people: numbers with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.people.judge import JUDGE, JudgeFit
from percert.evaluation.people.agreement import Array
from percert.reports.records import Row

BASELINE = "ascent"
#: Ours, whose share of observers stands over every rival's, and the rivals' names on the page.
OURS = "ssim-sqp"
#: The distances that are set beside the baseline's, by what the page calls them.
BESIDE = {"mdsi": "MDSI", "ssim": "1 - SSIM"}
DRAWS = 1000
#: Below this share of observers, false alarms apart, nobody would say that anything is seen.
VISIBLE = 0.01

Statistic = Callable[[Array, Array], Array]


def _mean_ratio(ours: Array, theirs: Array) -> Array:
    return np.asarray(ours.mean(-1) / np.maximum(theirs.mean(-1), 1e-300))


#: Of pairs (ours, theirs) on the same photographs, over their last dimension.
STATISTICS: dict[str, Statistic] = {
    "ratio of means": _mean_ratio,
    "mean of ratios": lambda ours, theirs: np.asarray((ours / theirs).mean(-1)),
    "median": lambda ours, theirs: np.asarray(np.median(ours / theirs, -1)),
    "9 of 10 below": lambda ours, theirs: np.asarray(np.quantile(ours / theirs, 0.9, -1)),
    "largest": lambda ours, theirs: np.asarray((ours / theirs).max(-1)),
}


def numbers(rows: Sequence[Row], judge: JudgeFit) -> list[dict[str, Any]]:
    """One entry an attack: success, how many would notice, and distances beside the baseline's."""
    by: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["attacked"]:
            by.setdefault(row["attack"], {})[row["image"]] = row
    won = {
        attack: {name: row for name, row in some.items() if row["success_8bit"]}
        for attack, some in by.items()
    }
    return [
        {
            "attack": attack,
            "images": len(by[attack]),
            "success_8bit": len(mine) / len(by[attack]),
            "l2": float(np.mean([row["l2"] for row in mine.values()])) if mine else None,
            "noticed": _interval(_noticed(mine, list(mine), judge)),
            "seen": _interval(_of(mine, list(mine), "seen")),
            "ours_over_it": _ours_over(won.get(OURS, {}), mine, judge),
            "beside_baseline": _beside(mine, won.get(BASELINE, {})),
            "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in by[attack].values()])),
        }
        for attack, mine in won.items()
    ]


def _of(rows: Mapping[str, Row], names: Sequence[str], column: str) -> Array:
    return np.array([rows[name][column] for name in names], dtype=float)


def _noticed(rows: Mapping[str, Row], names: Sequence[str], judge: JudgeFit) -> Array:
    """The share who would notice beyond false alarms, by the judge."""
    return judge.share(_of(rows, names, JUDGE)) - judge.false_alarms


def _ours_over(
    ours: Mapping[str, Row], theirs: Mapping[str, Row], judge: JudgeFit
) -> dict[str, Any] | None:
    """Our share of observers over theirs, means over the photographs on which both succeed."""
    both = [name for name in ours if name in theirs]
    if not both:
        return None
    by_judge = _noticed(ours, both, judge), _noticed(theirs, both, judge)
    by_seen = _of(ours, both, "seen"), _of(theirs, both, "seen")
    return {
        "images": len(both),
        "judge": _with_interval(_mean_ratio, *by_judge),
        "seen": _with_interval(_mean_ratio, *by_seen),
        "seen_by_some": bool(max(float(one.mean()) for one in by_judge) >= VISIBLE),
    }


def _beside(mine: Mapping[str, Row], baseline: Mapping[str, Row]) -> dict[str, Any] | None:
    """Each distance over the baseline's on the photographs on which both succeed."""
    both = [name for name in mine if name in baseline]
    if not both:
        return None
    found: dict[str, Any] = {"images": len(both)}
    for column in BESIDE:
        pair = _of(mine, both, column), _of(baseline, both, column)
        found[column] = {name: _with_interval(one, *pair) for name, one in STATISTICS.items()}
    return found


def _with_interval(statistic: Statistic, ours: Array, theirs: Array) -> dict[str, float]:
    """A statistic of pairs, and the middle 95 % of it over draws of photographs."""
    index = _draws(len(ours))
    low, high = np.quantile(statistic(ours[index], theirs[index]), [0.025, 0.975])
    return {"value": float(statistic(ours, theirs)), "low": float(low), "high": float(high)}


def _interval(values: Array) -> dict[str, float] | None:
    """A mean, and the middle 95 % of it over draws of photographs."""
    if not len(values):
        return None
    low, high = np.quantile(values[_draws(len(values))].mean(1), [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def _draws(count: int) -> Any:
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))
