"""What became of attacks judged by people: numbers with intervals, and the page."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from experiments.people.judge import JUDGE, JudgeFit
from percert.evaluation.people.agreement import Array
from percert.reports.records import Row
from percert.reports.table import Column, Table, percent

BASELINE = "ascent"
#: Ours, whose share of observers stands over every rival's, and the rivals' names on the page.
OURS = "ssim-sqp"
#: The distances that are set beside the baseline's, by what the page calls them.
BESIDE = {"mdsi": "MDSI", "ssim": "1 - SSIM"}
DRAWS = 1000
#: Below this share of observers, false alarms apart, nobody would say that anything is seen.
VISIBLE = 0.01

Statistic = Callable[[Array, Array], Array]
Entry: TypeAlias = Mapping[str, Any]


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


def page(found: Mapping[str, Any]) -> str:
    """The page: for each model and setting who would notice, and what the change measures."""
    parts = [ABOUT, f"\n{RATIOS}\n", _summary(found["runs"])]
    for name, entries in found["runs"].items():
        beside = [
            (entry, column)
            for entry in entries
            if entry["attack"] != BASELINE and entry["beside_baseline"] is not None
            for column in BESIDE
        ]
        parts += [f"\n## {name}\n\n", Table.of(entries, NOTICED).markdown()]
        parts += ["\n", Table.of(beside, DISTANCES).markdown()]
    return "".join(parts)


def _summary(runs: Mapping[str, Any]) -> str:
    """Our share of observers over each rival's, a row a model and setting."""
    by = {name: {one["attack"]: one for one in entries} for name, entries in runs.items()}
    rivals = dict.fromkeys(
        attack for entries in by.values() for attack in entries if not attack.startswith(OURS)
    )
    columns: list[Column[tuple[str, Mapping[str, Entry]]]] = [
        Column("model and setting", lambda row: row[0]),
        Column("images", lambda row: row[1][OURS]["images"], "d"),
        Column("success", lambda row: row[1][OURS]["success_8bit"], _whole_percent),
        Column(f"noticed, `{OURS}`", lambda row: row[1][OURS]["noticed"], _share),
        *(Column(f"`{rival}`", _over_rival(rival), _over) for rival in rivals),
    ]
    return Table.of([row for row in by.items() if OURS in row[1]], columns).markdown()


def _over_rival(rival: str) -> Callable[[tuple[str, Mapping[str, Entry]]], Any]:
    return lambda row: row[1].get(rival, {}).get("ours_over_it")


def _over(one: Entry) -> str:
    """Ours over a rival's share; in brackets where neither would be noticed by one in a hundred."""
    text = _number(one["judge"]["value"])
    return text if one["seen_by_some"] else f"[{text}]"


def _ours_over_it(by: str) -> Callable[[Entry], Any]:
    return lambda one: (one["ours_over_it"] or {}).get(by)


def _statistic(name: str) -> Callable[[tuple[Entry, str]], Any]:
    return lambda row: row[0]["beside_baseline"][row[1]][name]


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.005 <= value < 100 else f"{value:.1g}"


def _said(one: Mapping[str, float]) -> str:
    low, high = _number(one["low"]), _number(one["high"])
    return f"{_number(one['value'])} ({low} to {high})"


def _whole_percent(share: float) -> str:
    return percent(share, 0)


def _share(one: Mapping[str, float]) -> str:
    """A share of observers in percent, with its interval."""
    parts = (100 * one[key] for key in ("value", "low", "high"))
    value, low, high = (f"{part:.0f}" if part >= 10 else f"{part:.2g}" for part in parts)
    return f"{value} % ({low} to {high})"


NOTICED: list[Column[Entry]] = [
    Column("attack", lambda one: f"`{one['attack']}`"),
    Column("images", itemgetter("images"), "d"),
    Column("success", itemgetter("success_8bit"), _whole_percent),
    Column("l2", itemgetter("l2"), ".2f"),
    Column("noticed, judge", itemgetter("noticed"), _share),
    Column("noticed, `seen`", itemgetter("seen"), _share),
    Column(f"`{OURS}` over it, judge", _ours_over_it("judge"), _said),
    Column(f"`{OURS}` over it, `seen`", _ours_over_it("seen"), _said),
    Column("CPU s", itemgetter("cpu_seconds"), ".1f"),
]
DISTANCES: list[Column[tuple[Entry, str]]] = [
    Column("attack", lambda row: f"`{row[0]['attack']}`"),
    Column("images", lambda row: row[0]["beside_baseline"]["images"], "d"),
    Column("distance over the baseline's", lambda row: BESIDE[row[1]]),
    *(Column(name, _statistic(name), _said) for name in STATISTICS),
]

ABOUT = """# Attacks, judged by people

Written by `python -m experiments people.attacks`, on the first of the ImageNet-Compatible
photographs that each model has right; a model, a setting and an attack at a time. All attacks have
the same goal: a confidence, a class, and what the file must survive are asked of each of them.
Success is that of the files of 8 bits, and all distances are theirs.

Who would notice, false alarms taken off, is a mean over an attack's successes: by ST-LPIPS over
AlexNet fitted to what observers said (a judge that no attack here minimises; PPGD and LPA keep
within AlexNet's features on `lipsim-tiny`, to their advantage), and by `seen`, which `cost=seen` is
made from. The cost of plain `ssim-sqp` was not fitted to what people said; of `cost=seen` the
thresholds of contrast were chosen on the photographs that the judge is fitted to as well.
In parentheses the 95 % interval of a bootstrap over photographs; of a few it says little.

The settings: **plain** asks for another class, **confidence-5** for a margin of 5 logits,
**jpeg-75-and-4-bits** for another class behind either defence, too, **least-likely-class** for the
class that the model finds least likely, and **own-copies** that `lipsim-tiny`, which is robust,
calls a photograph's copy with less contrast (0.7) closer to it than its copy as a JPEG file (70).

MDSI and 1 - SSIM stand beside those of the fair baseline (`ascent`). MDSI is a fourth root and
rises like the root of a small change: where 1 - SSIM, which rises like the square, is at .25 of the
baseline's, MDSI is at .71; at .5 a change of the same shape would have a quarter of the length.
"""
RATIOS = f"""The share who would notice of `{OURS}` over that of each rival, by the judge, on the
photographs on which both succeed; below 1 ours is seen by fewer. In brackets where neither would be
noticed by one observer in a hundred.
"""
