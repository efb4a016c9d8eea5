"""The frontier of survival behind a defence and visibility: the cheapest attack at each rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from percert.evaluation.attack_runs.compare import title
from percert.evaluation.attack_runs.defences import Survival, succeeded
from percert.evaluation.attack_runs.distances import CLEAN, Row
from percert.evaluation.attack_runs.read import family
from percert.reports.attack_plots import frontier
from percert.reports.page import Block, Paragraph, Section, kept_figure
from percert.reports.records import column
from percert.reports.table import Column, Table, number


@dataclass(frozen=True)
class FrontierPoint:
    """An attack on the plane of survival and cost, behind one defence.

    ``cost`` is the median of a distance over the attack's successes. ``family`` is the attack but
    for its ``confidence``. ``least`` is the cheapest attack of any family that survives at least as
    often, and ``least_cost`` its cost: equal to ``cost`` for a point on the frontier.
    """

    attack: str
    family: str
    confidence: float
    defence: str
    survival: float
    cost: float
    least: str
    least_cost: float


def frontier_points(
    rows: Sequence[Row], entries: Sequence[Survival], distance: str
) -> list[FrontierPoint]:
    """Every attack's survival and median ``distance``, and the cheapest that survives as often.

    Attacks without a success have no cost, and are left out.
    """
    specs: dict[str, tuple[str, float]] = {}
    costs: dict[str, float] = {}
    for attack, won in succeeded(rows).items():
        name, confidence = family(won[-1]["spec"])
        specs[attack] = name, confidence + won[-1]["demand"]
        values = column(won, distance)
        if values:
            costs[attack] = median(values)
    names = _families(specs)
    points = []
    for entry in entries:
        if entry.attack not in costs:
            continue
        rivals = [
            (costs[other.attack], other.attack)
            for other in entries
            if other.defence == entry.defence
            and other.attack in costs
            and other.share >= entry.share
        ]
        least_cost, least = min(rivals)
        points.append(
            FrontierPoint(
                attack=entry.attack,
                family=names[entry.attack],
                confidence=specs[entry.attack][1],
                defence=entry.defence,
                survival=entry.share,
                cost=costs[entry.attack],
                least=least,
                least_cost=least_cost,
            )
        )
    return points


def _families(specs: Mapping[str, tuple[str, float]]) -> dict[str, str]:
    """The family of each attack; of two with one confidence each stands for itself."""
    seen: set[tuple[str, float]] = set()
    names = {}
    for attack, key in specs.items():
        names[attack] = attack if key in seen else key[0]
        seen.add(key)
    return names


def frontier_section(
    distance: str,
    points: Sequence[FrontierPoint],
    entries: Sequence[Survival],
    folder: Path | None = None,
) -> Section:
    """The plane of survival and ``distance``, and tables of it; figures to ``folder``."""
    several = {
        point.family
        for point in points
        if len({p.attack for p in points if p.family == point.family}) > 1
    }
    panels: dict[str, dict[str, list[tuple[float, float, str]]]] = {}
    for point in points:
        note = f"a = {point.confidence:g}" if point.family in several else ""
        panels.setdefault(point.defence, {}).setdefault(point.family, []).append(
            (point.survival, point.cost, note)
        )
    png = frontier(
        panels,
        value_label=f"median {title(distance)}",
        chance={entry.defence: entry.share for entry in entries if entry.attack == CLEAN},
    )
    blocks: list[Block] = [
        Paragraph(
            "Attacks with the same confidence are not comparable: what overshoots survives. This "
            "compares their cost at equal survival. Better is to the right and below; the grey "
            "staircase is what no attack beats, the dotted line what the defence spoils by itself."
        ),
        kept_figure(
            folder,
            f"frontier-{distance}.png",
            png,
            f"Median {title(distance)} of each attack's successes, against the share of its images "
            "that survives. Attacks that differ in their confidence a are joined.",
            f"Cost in {title(distance)} against survival, a panel for each defence",
        ),
    ]
    columns: list[Column[FrontierPoint]] = [
        Column("attack", lambda p: p.attack),
        Column("survival", lambda p: p.survival, ".2f"),
        Column(f"median {title(distance)}", lambda p: p.cost, number),
        Column(
            "cheapest that survives as often",
            lambda p: "(none is cheaper)" if p.least == p.attack else p.least,
        ),
        Column("times its cost", lambda p: p.cost / p.least_cost if p.least_cost else None, ".2f"),
    ]
    for defence in panels:
        mine = sorted((p for p in points if p.defence == defence), key=lambda p: -p.survival)
        blocks.append(Table.of(mine, columns, f"Behind {defence}."))
    return Section(f"Cost at equal survival: {title(distance)}", tuple(blocks))
