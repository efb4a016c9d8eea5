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
    rates are shares of ``attacked``. Of those that do not succeed as files, ``outside_8bit`` would
    outside of what was allowed, and ``undone_8bit`` did before they were rounded. ``mean`` and
    ``median`` hold distances by name, over the images that succeed as files of 8 bits (or what else
    was asked for). ``seconds`` and ``model_calls`` are means an attacked image. What has no image
    to rest on is ``None``.
    """

    attack: str
    images: int
    attacked: int
    success: float | None
    success_8bit: float | None
    outside_8bit: float | None
    undone_8bit: float | None
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
        outside_8bit=outside_8bit(tried),
        undone_8bit=undone_8bit(tried),
        mean={name: fmean(found) if found else None for name, found in values.items()},
        median={name: median(found) if found else None for name, found in values.items()},
        seconds=_mean(tried, "seconds"),
        model_calls=_mean(tried, "model_calls"),
    )


def outside_8bit(rows: Sequence[Row]) -> float | None:
    """The share whose goal an 8-bit image reaches, but only outside of what was allowed."""
    outside = [bool(row.get("outside_8bit")) for row in rows]  # older records do not have it
    return sum(outside) / len(rows) if rows else None


def undone_8bit(rows: Sequence[Row]) -> float | None:
    """The share that succeeded as returned, and as a file neither inside nor outside.

    >>> undone_8bit([{"success": True, "success_8bit": False, "outside_8bit": False}])
    1.0
    """
    undone = [
        bool(row["success"] and not row["success_8bit"] and not row.get("outside_8bit"))
        for row in rows
    ]
    return sum(undone) / len(rows) if rows else None


def rounding_words(attack: str, attacked: int, outside: float, undone: float) -> str | None:
    """What rounding to 8 bits cost an ``attack``, from shares of the ``attacked``; or nothing.

    >>> rounding_words("pgd", 10, 0.3, 0.1)
    'pgd: 3 of 10 reach the goal as files of 8 bits only outside of what was allowed; rounding undoes 1'
    """  # noqa: E501
    count, lost = round(outside * attacked), round(undone * attacked)
    said = []
    if count:
        said.append(
            f"{count} of {attacked} reach the goal as files of 8 bits only outside of what was "
            "allowed"
        )
    if lost:
        said.append(f"rounding undoes {lost}" + ("" if said else f" of {attacked}"))
    return f"{attack}: {'; '.join(said)}" if said else None


def _share(rows: list[Row], name: str) -> float | None:
    return sum(bool(row[name]) for row in rows) / len(rows) if rows else None


def _mean(rows: list[Row], name: str) -> float | None:
    found = column(rows, name)
    return fmean(found) if found else None
