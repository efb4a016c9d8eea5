"""The measures that auditors already use, beside the regression: worst group, gap, ratio, odds.

The values are those of ``fairlearn.metrics.MetricFrame``; the intervals are not its bootstrap's,
which for a maximum of noisy estimates covers the truth in a quarter of all samples or less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from percert.fairness.conclusions import interval_column
from percert.fairness.groups import ACCURACY, Outcome, numbers_first, with_outcome
from percert.fairness.intervals import extremes
from percert.fairness.least_squares import Array
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measure:
    """One number of all groups together, with an interval of the true one.

    ``fair`` is the value of a classifier that treats all groups alike, ``None`` where there is
    none. ``by_chance`` is what groups of these sizes show on average where all are alike: gaps are
    never negative, so it is not ``fair``. ``group`` is the group that attains it, ``candidates``
    how many groups may be the one, where there is one such.
    """

    name: str
    value: float
    interval: tuple[float, float]
    fair: float | None
    by_chance: float | None
    group: str | None
    candidates: int | None
    meaning: str


@dataclass(frozen=True)
class GroupRate:
    """A share by group, ``value`` and ``n`` ``(groups,)``: NaN and 0 where it has no such image.

    ``n`` is the number of independent images that would know the share as well as the group does.
    """

    value: Array
    n: Array

    def defined(self) -> "GroupRate":
        """The groups that have a share."""
        there = self.n > 0
        return GroupRate(self.value[there], self.n[there])


_MEANINGS: dict[str, tuple[float | None, str]] = {
    "true_positive_rate_gap": (0.0, "the largest less the smallest true-positive rate"),
    "false_positive_rate_gap": (0.0, "the largest less the smallest false-positive rate"),
    "equalized_odds_difference": (0.0, "the larger of the two gaps of rates"),
}


def group_measures(
    rows: "pd.DataFrame",
    *,
    outcome: Outcome = ACCURACY,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Measure]:
    """The measures of one model's checked predictions.

    Worst group, gap and ratio are of ``outcome``: of a selection rate, the gap is the difference of
    demographic parity. With labels and predictions also equalised odds: of ``outcome.positive``, or
    of the second of two classes in order; with more, each class against the rest, rates averaged
    over the classes that a group has. Intervals come from exact ones of all groups at once
    (``intervals.extremes``); those of averaged rates from as many images as would know the rate as
    well. ``draws`` binomial draws of groups that are all alike give ``by_chance``; 0 gives none.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"group": ["a"] * 4 + ["b"] * 4, "correct": [1, 1, 1, 0, 1, 0, 0, 1]})
    >>> [(m.name, m.value, m.group) for m in group_measures(rows)][:2]
    [('worst_group_accuracy', 0.5, 'b'), ('accuracy_gap', 0.25, None)]
    """
    group, names = rows["group"].factorize(sort=True)
    rates = group_rates(rows, group, len(names), outcome.positive)
    rng = np.random.default_rng(seed)
    accuracy = rates["accuracy"]
    if outcome.name != "accuracy":
        asked = with_outcome(rows, outcome)
        group, names = asked["group"].factorize(sort=True)
        sizes = np.bincount(group).astype(float)
        accuracy = GroupRate(np.bincount(group, asked["correct"].to_numpy(float)) / sizes, sizes)
    held = extremes(accuracy.value, accuracy.n, confidence)
    lowest, highest = float(accuracy.value.min()), float(accuracy.value.max())
    chance = _by_chance(accuracy, draws, rng)
    key, words = outcome.key, outcome.words
    first = f"worst_group_{key}" if outcome.name == "accuracy" else f"lowest_{key}"
    measures = [
        Measure(
            first, lowest, held.worst, None, chance.get("worst"),
            str(names[int(accuracy.value.argmin())]), int(held.candidates.sum()),
            f"{words} of the group that has the lowest",
        ),
        Measure(
            f"{key}_gap", highest - lowest, held.gap, 0.0, chance.get("gap"), None, None,
            f"{words} of the highest group less that of the lowest",
        ),
        Measure(
            f"{key}_ratio", lowest / highest if highest else np.nan, held.ratio, 1.0,
            chance.get("ratio"), None, None, f"{words} of the lowest group by that of the highest",
        ),
    ]  # fmt: skip
    if "tpr" not in rates:
        return measures
    # The larger of two gaps is held by the larger ends of both, if both intervals hold at once.
    both = []
    for name, key in (("true_positive_rate_gap", "tpr"), ("false_positive_rate_gap", "fpr")):
        if not (rates[key].n > 0).any():
            return measures
        rate = rates[key].defined()
        gap = float(np.ptp(rate.value))
        chance = _by_chance(rate, draws, rng) if _is_binomial(rate) else {}
        if name != measures[1].name:  # it is the outcome's own
            measures.append(
                _measure(name, gap, extremes(rate.value, rate.n, confidence).gap, chance.get("gap"))
            )
        both.append((gap, extremes(rate.value, rate.n, (1 + confidence) / 2).gap))
    ends = (max(gap[0] for _, gap in both), max(gap[1] for _, gap in both))
    measures.append(_measure("equalized_odds_difference", max(gap for gap, _ in both), ends, None))
    return measures


def _measure(
    name: str, value: float, interval: tuple[float, float], by_chance: float | None
) -> Measure:
    fair, meaning = _MEANINGS[name]
    return Measure(name, value, interval, fair, by_chance, None, None, meaning)


def _is_binomial(rate: GroupRate) -> bool:
    return bool((rate.n == np.round(rate.n)).all())


def _by_chance(rate: GroupRate, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """The mean extremes of groups of these sizes that all have the pooled share."""
    if not draws:
        return {}
    pool = float(rate.value @ rate.n / rate.n.sum())
    drawn = rng.binomial(rate.n.astype(int), pool, (draws, len(rate.n))) / rate.n
    lowest, highest = drawn.min(1), drawn.max(1)
    ratio = np.divide(lowest, highest, out=np.ones_like(lowest), where=highest > 0)
    return {
        "worst": float(lowest.mean()),
        "gap": float((highest - lowest).mean()),
        "ratio": float(ratio.mean()),
    }


def group_rates(
    rows: "pd.DataFrame", group: Codes, groups: int, positive: str | None = None
) -> dict[str, GroupRate]:
    """Accuracy of every group, and with labels and predictions its true- and false-positive rates.

    ``group`` is each row's group as a number below ``groups``. The rates are of the class
    ``positive`` where it is given.
    """
    sizes = np.bincount(group, minlength=groups).astype(float)
    if "label" not in rows:
        if "correct" not in rows:
            return {"accuracy": GroupRate(np.full(groups, np.nan), sizes)}
        right = np.bincount(group, rows["correct"].to_numpy(float), groups)
        return {"accuracy": GroupRate(right / sizes, sizes)}
    classes = sorted({*rows["label"].unique(), *rows["prediction"].unique()}, key=numbers_first)
    place = {name: code for code, name in enumerate(classes)}
    label = rows["label"].map(place).to_numpy(np.int64)
    prediction = rows["prediction"].map(place).to_numpy(np.int64)
    right = (label == prediction).astype(float)
    rates = {"accuracy": GroupRate(np.bincount(group, right, groups) / sizes, sizes)}
    count = len(classes)
    if count < 2:
        return rates
    # Of two classes the second is "positive"; of more, each in turn, averaged.
    taken = slice(1, 2) if count == 2 else slice(0, count)
    if positive is not None:
        taken = slice(place[positive], place[positive] + 1)

    def by_class(codes: Codes, weights: Array | None = None) -> Array:
        found = np.bincount(group * count + codes, weights, groups * count)
        counted: Array = found.reshape(groups, count)[:, taken].astype(float)
        return counted

    positives = by_class(label)
    rates["tpr"] = _mean_rate(by_class(label, right), positives)
    rates["fpr"] = _mean_rate(by_class(prediction, 1 - right), sizes[:, None] - positives)
    return rates


def _mean_rate(part: Array, whole: Array) -> GroupRate:
    """The mean over classes of part / whole, ``(groups, classes)`` each, and the images behind it.

    Of one class these are its images. The mean of several rates p_c has the variance
    sum(p_c (1 - p_c) / n_c) / C^2, which so many images of one rate have; where the rates are all 0
    or 1 they are taken as alike, which no estimate of the variance can do better.
    """
    there = whole > 0
    classes = there.sum(1)
    counts = np.where(there, whole, 1.0)
    rate = np.where(there, part / counts, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(classes > 0, rate.sum(1) / classes, np.nan)
        variance = np.where(there, rate * (1 - rate) / counts, 0.0).sum(1) / classes**2
        alike = classes**2 / np.where(there, 1 / counts, 0.0).sum(1)
        images = np.where(variance > 0, np.minimum(mean * (1 - mean) / variance, alike), alike)
    if whole.shape[1] == 1:
        images = whole[:, 0]
    return GroupRate(mean, np.where(classes > 0, images, 0.0))


def measures_table(
    measures: Mapping[str, Sequence[Measure]], confidence: float, *, short: bool = False
) -> Table:
    """The measures of the extreme groups of every model, with intervals of the true ones."""

    def name(measure: Measure) -> str:
        called = measure.name if short else measure.name.replace("_", " ")
        return called + (f" ({measure.group})" if measure.group else "")

    def meaning(measure: Measure) -> str:
        several = measure.candidates is not None and measure.candidates > 1
        return measure.meaning + (
            f"; {measure.candidates} groups may be the one" if several else ""
        )

    columns: list[Column[tuple[str, Measure]]] = [
        Column("model", lambda row: row[0]),
        Column("measure", lambda row: name(row[1])),
        Column("value", lambda row: row[1].value, ".4f"),
        interval_column(confidence, lambda row: row[1].interval, ".4f"),
        Column("by chance, if all were alike", lambda row: row[1].by_chance, ".4f", missing=""),
        Column("what it is", lambda row: meaning(row[1]), wide=True),
    ]
    return Table.of(
        [(model, measure) for model, found in measures.items() for measure in found],
        columns,
        "Values as fairlearn's MetricFrame has them. Intervals hold the true value whichever group "
        "attains it: exact ones of all groups at once.",
        short=short,
    )
