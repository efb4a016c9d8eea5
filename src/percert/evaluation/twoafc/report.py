"""Tables and the figure of a 2AFC evaluation, of one metric or several: LipSim's Tables 1 to 4."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from percert.evaluation.twoafc.evaluate import CLEAN
from percert.evaluation.twoafc.scores import WORST, TwoAFCScores, effort
from percert.registry import split_settings
from percert.reports.plots import COLOURS, Array, figure_png, new_figure
from percert.reports.records import Row
from percert.reports.table import Column, Table, number


def natural_table(scores: Sequence[TwoAFCScores]) -> Table:
    """Natural and certified scores in percent, a row a group (LipSim, Tables 2 and 4)."""
    proven = any(entry.ours is not None for group in scores for entry in group.certified)
    by_paper = any(entry.paper is not None for group in scores for entry in group.certified)
    columns: list[Column[TwoAFCScores]] = [
        Column("triplets", lambda group: group.name),
        Column("count", lambda group: group.triplets, "d"),
        Column("natural", lambda group: group.natural, percent),
    ]
    if proven:
        columns += _certified_columns(scores[0], "ours", "certified ")
    if by_paper:
        columns += _certified_columns(scores[0], "paper", "paper's ")
    if proven:
        columns.append(Column("median radius", lambda group: group.radius_median, number))
    return Table.of(
        scores,
        columns,
        "Scores in percent. Certified: proven within that l2 distance, by the exact radius"
        + (" and by Eq. 8 of the paper." if by_paper else "."),
    )


def _certified_columns(
    first: TwoAFCScores, radius: str, before: str = ""
) -> list[Column[TwoAFCScores]]:
    """The scores certified by a ``radius``, a column a budget."""

    def at(eps: float) -> Callable[[TwoAFCScores], float | None]:
        return lambda group: next(
            (getattr(entry, radius) for entry in group.certified if entry.eps == eps), None
        )

    return [
        Column(f"{before}{shown(entry.eps)}", at(entry.eps), percent) for entry in first.certified
    ]


def _of(key: object) -> Callable[[Mapping[Any, Any]], Any]:
    return lambda row: row.get(key)


def _budget_columns(budgets: Iterable[tuple[str, float]]) -> list[Column[Mapping[Any, Any]]]:
    """Scores by (norm, eps), a column each."""
    return [Column(f"{norm} {shown(eps)}", _of((norm, eps)), percent) for norm, eps in budgets]


def attacked_table(scores: Sequence[TwoAFCScores]) -> Table | None:
    """Scores under attack, in percent of all triplets (LipSim, Tables 1 and 3).

    A row an attack, a column a budget; ``None`` where nothing was attacked.
    """
    whole = scores[0]
    budgets = {(entry.norm, entry.eps): entry for entry in whole.attacked}
    if not budgets:
        return None
    certified = {budget: entry.certified for budget, entry in budgets.items()}
    rows: list[Mapping[Any, Any]] = [{"attack": "natural", **dict.fromkeys(budgets, whole.natural)}]
    rows += [{"attack": attack, **left} for attack, left in _left(whole).items()]
    if any(value is not None for value in certified.values()):
        rows.append({"attack": "certified", **certified})
    return Table.of(
        rows,
        [Column("attack", _of("attack")), *_budget_columns(budgets)],
        "Scores in percent that attacks leave. Worst of all: a triplet counts as turned round "
        "where any attack found an image within the budget. Certified: no attack gets below it.",
    )


def groups_table(scores: Sequence[TwoAFCScores]) -> Table | None:
    """The worst case of each group at each budget; ``None`` where there is but one group."""
    if not scores[0].attacked or len(scores) == 1:
        return None
    rows: list[Mapping[Any, Any]] = [
        {"name": group.name, **{(one.norm, one.eps): one.worst for one in group.attacked}}
        for group in scores
    ]
    return Table.of(
        rows,
        [
            Column("triplets", _of("name")),
            *_budget_columns((one.norm, one.eps) for one in scores[0].attacked),
        ],
        "The worst case of all attacks by group, in percent.",
    )


def effort_table(rows: Sequence[Row]) -> Table:
    """Seconds and model calls an attacked triplet."""
    return Table.of(
        effort(rows).items(),
        [
            Column("attack", lambda row: row[0]),
            Column("s/triplet", lambda row: row[1]["seconds"], number),
            Column("calls/triplet", lambda row: row[1]["model_calls"], number),
        ],
        "Means over attacked triplets. A call is one image passed through the metric.",
    )


def score_figure(scores: TwoAFCScores, rows: Sequence[Row], perturbed: str) -> bytes:
    """Scores against the l2 budget: certified and attacked as curves, each attack as points.

    The curve under attack is that of the least change found for each triplet by any attack.
    """
    figure, axis = new_figure(8.6, 4.6)
    clean = [row for row in rows if row["attack"] == CLEAN]
    points = [entry for entry in scores.attacked if entry.norm == "l2"]
    budgets = [entry.eps for entry in scores.certified] + [entry.eps for entry in points]
    reach = 1.03 * max(*budgets, 1.2 * (scores.radius_median or 0), 1e-3)
    at = np.linspace(0, reach, 600)
    axis.axhline(100 * scores.natural, color="0.45", ls=":", lw=1.5, label="natural")
    if any(row["attack"] != CLEAN for row in rows):
        found = 100 * score_curve(clean, at, least_changes(clean, rows))
        axis.plot(at, found, "k-", lw=1.5, label="left by all attacks")
    for name, column, colour in (
        ("certified", "radius", COLOURS[0]),
        ("certified, paper's radius", "radius_paper", COLOURS[5]),
    ):
        if any(row[column] is not None for row in clean):
            radii = [-1.0 if row[column] is None else row[column] for row in clean]
            axis.plot(at, 100 * score_curve(clean, at, radii), color=colour, lw=2, label=name)
    families: dict[str, list[tuple[float, float]]] = {}
    for entry in points:
        for name, value in entry.by_attack.items():
            families.setdefault(short(name), []).append((entry.eps, 100 * value))
    for place, (name, marks) in enumerate(families.items()):
        # Rings of several sizes: where attacks agree all of them can be seen.
        axis.plot(
            *zip(*sorted(marks), strict=True),
            ls="",
            marker="osD^vP*X"[place % 8],
            ms=5 + 2.2 * (place % 5),
            mfc="none",
            mew=1.4,
            color=COLOURS[(1, 2, 3, 4)[place % 4]],
            label=name,
        )
    what = "the reference" if perturbed == "reference" else "each image that moves"
    axis.set(
        xlabel=f"l2 budget of {what}", ylabel="2AFC score (%)", ylim=(-2, 102), xlim=(0, reach)
    )
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure_png(figure)


def least_changes(clean: Sequence[Row], rows: Sequence[Row]) -> list[float]:
    """The shortest l2 change that turned each triplet round, whichever attack found it."""
    found: dict[str, float] = {}
    for row in rows:
        if row["success"]:
            found[row["image"]] = min(row["l2"], found.get(row["image"], math.inf))
    return [found.get(row["image"], math.inf) for row in clean]


def score_curve(clean: Sequence[Row], at: Array, lengths: Sequence[float]) -> Array:
    """The score at each budget of ``at``, in [0, 1], where a choice stands below its length."""
    credit = np.array([_credits(row) for row in clean])
    held = np.array(lengths)[None, :] > at[:, None]
    curve: Array = np.where(held, credit[:, 0], credit[:, 1]).mean(1)
    return curve


def shown(eps: float) -> str:
    """A budget as people write it.

    >>> shown(36 / 255), shown(0.5), shown(8 / 255)
    ('36/255', '0.5', '8/255')
    """
    levels = 255 * eps
    if eps and abs(levels - round(levels)) < 1e-6 and abs(100 * eps - round(100 * eps)) > 1e-9:
        return f"{round(levels)}/255"
    return f"{eps:.4g}"


def short(attack: str) -> str:
    """What an attack is called where its budget stands beside it.

    >>> short("apgd:loss=margin,norm=l2,eps=1")
    'apgd loss=margin'
    """
    name, settings = split_settings(attack)
    kept = [f"{key}={value}" for key, value in settings.items() if key not in ("eps", "norm")]
    return f"{name} {' '.join(kept)}".strip()


def percent(value: float) -> str:
    """A score in percent, as LipSim's tables have it: without the sign.

    >>> percent(0.98765)
    '98.77'
    """
    return f"{100 * value:.2f}"


def _credits(row: Row) -> tuple[float, float]:
    """What a triplet counts for with the metric's choice, and with the worse one."""
    right = float(row["label"] or 0) if row["share"] is None else row["share"]
    sides = (1 - right, right)
    choice = row["clean_prediction"]
    return (0.5 if choice is None else sides[choice]), min(sides)


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
    metric: Column[Mapping[Any, Any]] = Column("metric", _of("metric"))
    natural: list[Mapping[Any, Any]] = [
        {"metric": name, **{("group", entry.name): entry.natural for entry in scores}}
        for name, scores in named.items()
    ]
    tables = [
        Table.of(
            natural,
            [metric, *(Column(group, _of(("group", group)), percent) for group in groups)],
            "Natural scores in percent: all triplets, and by group (LipSim, Table 4).",
        )
    ]
    first = next(iter(named.values()))[0]
    for radius, of in (("ours", "the exact radius"), ("paper", "the paper's radius, Eq. 8")):
        proven = [
            (name, scores[0])
            for name, scores in named.items()
            if any(getattr(entry, radius) is not None for entry in scores[0].certified)
        ]
        if proven:
            columns: list[Column[tuple[str, TwoAFCScores]]] = [Column("metric", lambda row: row[0])]
            columns += [
                Column(column.name, partial(_second, column.value), percent)
                for column in _certified_columns(first, radius)
            ]
            caption = f"Certified scores in percent, by {of} (Table 2)."
            tables.append(Table.of(proven, columns, caption))
    return tables + _attacked(named)


def _second(value: Callable[[TwoAFCScores], Any], row: tuple[str, TwoAFCScores]) -> Any:
    return value(row[1])


def _attacked(named: Named) -> list[Table]:
    by_metric = {metric: _left(scores[0]) for metric, scores in named.items()}
    attacks = list(dict.fromkeys(attack for found in by_metric.values() for attack in found))
    attacks.sort(key=lambda attack: attack == WORST)
    tables = []
    for attack in attacks:
        rows: list[Mapping[Any, Any]] = [
            {"metric": metric, "natural": named[metric][0].natural, **found[attack]}
            for metric, found in by_metric.items()
            if attack in found
        ]
        budgets = dict.fromkeys(
            budget for found in by_metric.values() for budget in found.get(attack, ())
        )
        columns = [
            Column("metric", _of("metric")),
            Column("natural", _of("natural"), percent),
            *_budget_columns(budgets),
        ]
        caption = f"Scores in percent under attack (Tables 1 and 3): {attack}."
        tables.append(Table.of(rows, columns, caption))
    return tables


def _left(scores: TwoAFCScores) -> dict[str, dict[tuple[str, float], float]]:
    """The score that each attack leaves at each (norm, eps), and all of them together."""
    found: dict[str, dict[tuple[str, float], float]] = {}
    for entry in scores.attacked:
        for attack, value in entry.by_attack.items():
            found.setdefault(short(attack), {})[entry.norm, entry.eps] = value
    worst = {(entry.norm, entry.eps): entry.worst for entry in scores.attacked}
    return {**found, WORST: worst} if worst else found
