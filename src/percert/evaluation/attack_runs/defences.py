"""What of an attack survives a defence, what that costs in visibility, and the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from percert.defences import create_defence
from percert.evaluation.attack_runs.compare import title
from percert.evaluation.attack_runs.distances import (
    CLEAN,
    MeasuredFiles,
    Progress,
    Row,
    measure_files,
    open_store,
)
from percert.evaluation.attack_runs.read import family
from percert.reports.attack_plots import frontier, share_bars
from percert.reports.page import Block, Paragraph, Section, kept_figure
from percert.reports.records import column
from percert.reports.table import Column, Table, number
from percert.runs.tasks import device_of, predictions
from percert.tensors import Images


@dataclass(frozen=True)
class Survival:
    """One attack through one defence.

    Of ``attacked`` images ``succeeded`` as files, and ``survived`` still do when the defence has
    been at them: ``share`` of those attacked, with its 95 % ``interval`` (Wilson's).
    """

    attack: str
    defence: str
    attacked: int
    succeeded: int
    survived: int

    @property
    def share(self) -> float:
        return self.survived / self.attacked

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.survived, self.attacked)

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return {**asdict(self), "share": self.share, "interval": list(self.interval)}


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


def wilson(count: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), of ``count`` in ``total``.

    >>> tuple(round(end, 3) for end in wilson(0, 10))
    (0.0, 0.278)
    """
    share, more = count / total, z * z / total
    middle = (share + more / 2) / (1 + more)
    reach = z * sqrt(share * (1 - share) / total + more / (4 * total)) / (1 + more)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def defended_predictions(
    rows: Sequence[Row],
    originals: Path,
    model: nn.Module,
    weights: str,
    defences: Sequence[str],
    out: Path,
    *,
    progress: Progress | None = None,
) -> MeasuredFiles:
    """What ``model`` says of every successful file behind each of the ``defences``.

    By (attack, image, defence), with the originals as the attack
    :data:`~percert.evaluation.attack_runs.distances.CLEAN`. ``weights`` is a hash of the model's:
    what
    ``out`` holds of others is not used.
    """
    known = {name: create_defence(name) for name in defences}

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, int]]:
        shown = known[name](others.to(device_of(model)))
        return [{"prediction": prediction} for prediction in predictions(model, shown)]

    return measure_files(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        dict.fromkeys(known, weights),
        open_store(out, "defence", {"prediction": int}),
        measure,
        clean=True,
        progress=progress,
    )


def survivals(rows: Sequence[Row], found: MeasuredFiles, defences: Sequence[str]) -> list[Survival]:
    """Every attack through every defence, and how many originals the defence alone spoils.

    The latter as the attack ``"(clean)"``, on all images that any attack succeeded on: there a
    success is a wrong class. An attack towards a class survives where that class does.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success_8bit": True, "label": 3,
    ...        "towards": False, "target": None}
    >>> said = {("a", "x", "bits-4"): {"prediction": 7}, ("(clean)", "x", "bits-4"): {"prediction": 3}}
    >>> [(entry.attack, entry.share) for entry in survivals([row], said, ["bits-4"])]
    [('(clean)', 0.0), ('a', 1.0)]
    """  # noqa: E501
    tried: dict[str, list[Row]] = {}
    labels: dict[str, int] = {}
    for row in rows:
        if row["attacked"]:
            tried.setdefault(row["attack"], []).append(row)
            if row["success_8bit"]:
                labels[row["image"]] = row["label"]
    entries = []
    for defence in defences:
        spoilt = sum(found[CLEAN, i, defence]["prediction"] != y for i, y in labels.items())
        if labels:
            entries.append(Survival(CLEAN, defence, len(labels), len(labels), spoilt))
        for attack, some in tried.items():
            won = [row for row in some if row["success_8bit"]]
            alive = sum(
                survives(row, found[attack, row["image"], defence]["prediction"]) for row in won
            )
            entries.append(Survival(attack, defence, len(some), len(won), alive))
    return entries


def survives(row: Row, prediction: int) -> bool:
    """Whether ``prediction`` is what the attack on this row was after."""
    if row["towards"]:
        return bool(prediction == row["target"])
    return bool(prediction != row["label"])


def frontier_points(
    rows: Sequence[Row], entries: Sequence[Survival], distance: str
) -> list[FrontierPoint]:
    """Every attack's survival and median ``distance``, and the cheapest that survives as often.

    Attacks without a success have no cost, and are left out.
    """
    specs: dict[str, tuple[str, float]] = {}
    costs: dict[str, float] = {}
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["attacked"] and row["success_8bit"]:
            by_attack.setdefault(row["attack"], []).append(row)
            name, confidence = family(row["spec"])
            specs[row["attack"]] = name, confidence + row["demand"]
    for attack, won in by_attack.items():
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


def defence_sections(
    entries: Sequence[Survival],
    points: Mapping[str, Sequence[FrontierPoint]],
    folder: Path | None = None,
) -> list[Section]:
    """The report's sections; ``points`` by distance. With ``folder`` figures are written there."""
    sections = [_survival(entries, folder)]
    for distance, some in points.items():
        if some:
            sections.append(_frontier(distance, some, entries, folder))
    return sections


def _survival(entries: Sequence[Survival], folder: Path | None) -> Section:
    defences = list(dict.fromkeys(entry.defence for entry in entries))
    attacks = list(dict.fromkeys(entry.attack for entry in entries))
    by_key = {(entry.attack, entry.defence): entry for entry in entries}

    def behind(defence: str) -> Callable[[str], Survival]:
        return lambda attack: by_key[attack, defence]

    def interval(entry: Survival) -> str:
        low, high = entry.interval
        return f"{entry.share:.2f} ({low:.2f} to {high:.2f})"

    def succeeded(attack: str) -> float | None:
        first = by_key[attack, defences[0]]
        return None if attack == CLEAN else first.succeeded / first.attacked

    columns: list[Column[str]] = [
        Column("attack", str),
        Column("images", lambda attack: by_key[attack, defences[0]].attacked, "d"),
        Column("8-bit success", succeeded, ".2f"),
        *(Column(defence, behind(defence), interval) for defence in defences),
    ]
    table = Table.of(
        attacks,
        columns,
        "The share of the attacked images that succeed as files and still do behind the defence, "
        f"with its 95 % interval. {CLEAN}: the share of the same images, before any attack, that "
        "the defence alone spoils: an attack at that level owes its survival to the defence.",
    )
    png = share_bars(
        {a: {d: by_key[a, d].share for d in defences} for a in attacks},
        value_label="share of the attacked images",
    )
    return Section(
        "What survives",
        (table, kept_figure(folder, "survival.png", png, "The same shares.", _shares(entries))),
    )


def _frontier(
    distance: str, points: Sequence[FrontierPoint], entries: Sequence[Survival], folder: Path | None
) -> Section:
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


def _shares(entries: Sequence[Survival]) -> str:
    return "; ".join(f"{e.attack} through {e.defence}: {e.share:.2f}" for e in entries)


def survival_table(entries: Sequence[Survival]) -> Table:
    """A row an attack, a column a defence: the share of its images that survives."""
    by_key = {(entry.attack, entry.defence): entry for entry in entries}
    defences = list(dict.fromkeys(entry.defence for entry in entries))
    columns: list[Column[str]] = [
        Column("attack", str),
        Column("images", lambda attack: by_key[attack, defences[0]].attacked, "d"),
    ]

    def behind(defence: str) -> Column[str]:
        return Column(defence, lambda attack: by_key[attack, defence].share, ".2f")

    columns += [behind(name) for name in defences]
    return Table.of(dict.fromkeys(entry.attack for entry in entries), columns)
