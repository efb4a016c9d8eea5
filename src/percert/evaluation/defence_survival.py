"""What of an attack survives a defence, and what that costs in visibility."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from percert.attacks.collection.tasks import device_of, predictions
from percert.defences import create_defence
from percert.evaluation.attack_settings import family
from percert.evaluation.attacked_files import CLEAN, Progress, Row, Settled, open_store, settle
from percert.reports.records import column
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
class Point:
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
) -> Settled:
    """What ``model`` says of every successful file behind each of the ``defences``.

    By (attack, image, defence), with the originals as the attack
    :data:`~percert.evaluation.attacked_files.CLEAN`. ``weights`` is a hash of the model's: what
    ``out`` holds of others is not used.
    """
    known = {name: create_defence(name) for name in defences}

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, int]]:
        shown = known[name](others.to(device_of(model)))
        return [{"prediction": prediction} for prediction in predictions(model, shown)]

    return settle(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        dict.fromkeys(known, weights),
        open_store(out, "defence", {"prediction": int}),
        measure,
        clean=True,
        progress=progress,
    )


def survivals(rows: Sequence[Row], found: Settled, defences: Sequence[str]) -> list[Survival]:
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


def frontier_points(rows: Sequence[Row], entries: Sequence[Survival], distance: str) -> list[Point]:
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
            Point(
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
