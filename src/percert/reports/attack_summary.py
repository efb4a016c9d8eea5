"""Records of attacks in a few numbers an attack."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from percert.reports.records import Row, column


@dataclass(frozen=True)
class AttackSummary:
    """What became of one attack.

    ``images`` were given, ``attacked`` of them (the rest was misclassified to begin with); the
    rates are shares of ``attacked``. ``mean`` and ``median`` hold distances by name, over the
    images that succeed as files of 8 bits (or what else was asked for). ``seconds`` and
    ``model_calls`` are means an attacked image. What has no image to rest on is ``None``.
    """

    attack: str
    images: int
    attacked: int
    success: float | None
    success_8bit: float | None
    mean: dict[str, float | None]
    median: dict[str, float | None]
    seconds: float | None
    model_calls: float | None


def summarise_attacks(
    rows: Iterable[Row], distances: Sequence[str], *, over: str = "success_8bit"
) -> list[AttackSummary]:
    """One summary an attack, in the order in which they come in ``rows``.

    The distances are those of the attacked rows for which the column ``over`` is true;
    ``"attacked"`` takes all of them, for a goal that has no end.

    >>> row = {"attack": "a", "attacked": True, "success": True, "success_8bit": False, "l2": 1.0,
    ...        "seconds": 2.0, "model_calls": 5.0}
    >>> (found,) = summarise_attacks([row, {**row, "success_8bit": True, "l2": 3.0}], ["l2"])
    >>> found.success_8bit, found.mean
    (0.5, {'l2': 3.0})
    """
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        by_attack.setdefault(row["attack"], []).append(row)
    return [_summary(attack, found, distances, over) for attack, found in by_attack.items()]


def _summary(attack: str, rows: list[Row], distances: Sequence[str], over: str) -> AttackSummary:
    tried = [row for row in rows if row["attacked"]]
    taken = [row for row in tried if row[over]]
    values: dict[str, list[Any]] = {name: column(taken, name) for name in distances}
    return AttackSummary(
        attack=attack,
        images=len(rows),
        attacked=len(tried),
        success=_share(tried, "success"),
        success_8bit=_share(tried, "success_8bit"),
        mean={name: fmean(found) if found else None for name, found in values.items()},
        median={name: median(found) if found else None for name, found in values.items()},
        seconds=_mean(tried, "seconds"),
        model_calls=_mean(tried, "model_calls"),
    )


def _share(rows: list[Row], name: str) -> float | None:
    return sum(bool(row[name]) for row in rows) / len(rows) if rows else None


def _mean(rows: list[Row], name: str) -> float | None:
    found = column(rows, name)
    return fmean(found) if found else None
