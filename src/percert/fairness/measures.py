"""The measures that auditors already use, beside the regression: worst group, gap, ratio, odds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from percert.fairness.covariance import Array

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measure:
    """One number of all groups together, with its bootstrap interval where one was drawn.

    ``fair`` is the value of a classifier that treats all groups alike, ``None`` where there is
    none. ``group`` is the group that attains it, where there is one such.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    fair: float | None
    group: str | None
    meaning: str


_MEANINGS: dict[str, tuple[float | None, str]] = {
    "worst_group_accuracy": (None, "the lowest accuracy of any group"),
    "accuracy_gap": (0.0, "the highest accuracy of any group less the lowest"),
    "accuracy_ratio": (1.0, "the lowest accuracy of any group by the highest"),
    "true_positive_rate_gap": (0.0, "the largest less the smallest true-positive rate"),
    "false_positive_rate_gap": (0.0, "the largest less the smallest false-positive rate"),
    "equalized_odds_difference": (0.0, "the larger of the two gaps of rates"),
}


@dataclass(frozen=True)
class _Outcomes:
    """Rows sorted by group: codes of groups, labels and predictions."""

    group: Codes
    label: Codes
    prediction: Codes
    classes: int

    @property
    def classes_counted(self) -> slice:
        # Of two classes the second is "positive"; of more, each in turn, averaged.
        return slice(1, 2) if self.classes == 2 else slice(0, self.classes)


def group_measures(
    rows: "pd.DataFrame", *, draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> list[Measure]:
    """The measures of one model's checked predictions, as ``fairlearn.metrics.MetricFrame`` does.

    With intervals the values are fairlearn's own. Without (``draws`` = 0) they are the same numbers
    counted as the samples are: fairlearn takes seconds a model, this some thousandths of one.
    With labels and predictions also equalised odds: with two classes the second in order counts as
    positive; with more, each class against the rest, rates averaged over classes. Intervals are
    percentiles of ``draws`` bootstrap samples, drawn within each group so that none runs empty; 0
    draws none. Gaps are never negative and grow with the number of small groups even where nothing
    differs, and again with every resampling: an interval need hold neither 0 nor the value itself.
    Compare models by them, not a model with 0.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"group": ["a"] * 4 + ["b"] * 4, "correct": [1, 1, 1, 0, 1, 0, 0, 1]})
    >>> [(m.name, m.value, m.group) for m in group_measures(rows, draws=0)][:2]
    [('worst_group_accuracy', 0.5, 'b'), ('accuracy_gap', 0.25, None)]
    """
    outcomes, names = _outcomes(rows)
    values, worst = _point(outcomes, names) if draws else _counted(outcomes, names)
    samples: list[dict[str, float]] = []
    if draws:
        rng = np.random.default_rng(seed)
        sizes = np.bincount(outcomes.group)
        starts = (np.cumsum(sizes) - sizes)[outcomes.group]
        for _ in range(draws):
            taken = starts + (rng.random(len(starts)) * sizes[outcomes.group]).astype(np.int64)
            samples.append(_combined(_rates(outcomes, taken)))
    tails = [100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2]
    measures = []
    for name, value in values.items():
        interval = None
        if draws:
            low, high = np.nanpercentile([sample[name] for sample in samples], tails)
            interval = (float(low), float(high))
        fair, meaning = _MEANINGS[name]
        group = worst if name == "worst_group_accuracy" else None
        measures.append(Measure(name, value, interval, fair, group, meaning))
    return measures


def _outcomes(rows: "pd.DataFrame") -> tuple[_Outcomes, list[str]]:
    group, names = rows["group"].factorize(sort=True)
    order = np.argsort(group, kind="stable")
    if "label" in rows:
        classes = sorted({*rows["label"], *rows["prediction"]}, key=_numbers_first)
        place = {name: code for code, name in enumerate(classes)}
        label = rows["label"].map(place).to_numpy(np.int64)
        prediction = rows["prediction"].map(place).to_numpy(np.int64)
        count = len(classes)
    else:
        label = np.ones(len(rows), np.int64)
        prediction = rows["correct"].to_numpy(np.int64)
        count = 0
    return _Outcomes(group[order], label[order], prediction[order], count), [str(n) for n in names]


def _numbers_first(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _point(outcomes: _Outcomes, names: list[str]) -> tuple[dict[str, float], str]:
    """The values on the data themselves, by fairlearn, and the worst group's name."""
    from fairlearn.metrics import MetricFrame  # type: ignore[import-untyped]  # it ships no types

    metrics: dict[str, Callable[[Any, Any], float]] = {"accuracy": _accuracy}
    if outcomes.classes > 1:
        metrics["tpr"] = lambda label, prediction: _one_group(outcomes, label, prediction, "tpr")
        metrics["fpr"] = lambda label, prediction: _one_group(outcomes, label, prediction, "fpr")
    frame = MetricFrame(
        metrics=metrics,
        y_true=outcomes.label,
        y_pred=outcomes.prediction,
        sensitive_features=np.asarray(names, object)[outcomes.group],
    )
    lowest, gap, ratio = frame.group_min(), frame.difference(), frame.ratio()
    values = {
        "worst_group_accuracy": float(lowest["accuracy"]),
        "accuracy_gap": float(gap["accuracy"]),
        "accuracy_ratio": float(ratio["accuracy"]),
    }
    if outcomes.classes > 1:
        values["true_positive_rate_gap"] = float(gap["tpr"])
        values["false_positive_rate_gap"] = float(gap["fpr"])
        values["equalized_odds_difference"] = float(max(gap["tpr"], gap["fpr"]))
    return values, str(frame.by_group["accuracy"].idxmin())


def _counted(outcomes: _Outcomes, names: list[str]) -> tuple[dict[str, float], str]:
    """What :func:`_point` gives, without fairlearn."""
    rates = _rates(outcomes, np.arange(len(outcomes.label)))
    return _combined(rates), names[int(rates["accuracy"].argmin())]


def _accuracy(label: Any, prediction: Any) -> float:
    return float(np.mean(np.asarray(label) == np.asarray(prediction)))


def _one_group(outcomes: _Outcomes, label: Any, prediction: Any, rate: str) -> float:
    rows = _Outcomes(
        np.zeros(len(label), np.int64), np.asarray(label), np.asarray(prediction), outcomes.classes
    )
    return float(_rates(rows, np.arange(len(rows.label)))[rate][0])


def _rates(outcomes: _Outcomes, taken: Codes) -> dict[str, Array]:
    """Accuracy and, with classes, both rates of every group, ``(groups,)`` each, on rows taken."""
    group, label = outcomes.group[taken], outcomes.label[taken]
    prediction = outcomes.prediction[taken]
    groups = int(outcomes.group[-1]) + 1
    right = (label == prediction).astype(float)
    sizes = np.bincount(group, minlength=groups)
    rates: dict[str, Array] = {"accuracy": np.bincount(group, right, groups) / sizes}
    if outcomes.classes < 2:
        return rates
    shape = (groups, outcomes.classes)
    cells = groups * outcomes.classes

    def count(codes: Codes, weights: Array | None = None) -> Array:
        found = np.bincount(group * outcomes.classes + codes, weights, cells)
        counted: Array = found.reshape(shape)[:, outcomes.classes_counted].astype(float)
        return counted

    positives = count(label)
    negatives = sizes[:, None] - positives
    rates["tpr"] = _mean_ratio(count(label, right), positives)
    rates["fpr"] = _mean_ratio(count(prediction, 1 - right), negatives)
    return rates


def _mean_ratio(part: Array, whole: Array) -> Array:
    """The mean over the columns where ``whole`` is not 0; NaN where it is 0 in all."""
    there = whole > 0
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=there)
    columns = there.sum(axis=1)
    mean: Array = np.where(columns > 0, ratio.sum(axis=1) / np.maximum(columns, 1), np.nan)
    return mean


def _combined(rates: dict[str, Array]) -> dict[str, float]:
    accuracy = rates["accuracy"]
    values = {
        "worst_group_accuracy": float(accuracy.min()),
        "accuracy_gap": float(np.ptp(accuracy)),
        "accuracy_ratio": float(accuracy.min() / accuracy.max()) if accuracy.max() else np.nan,
    }
    if "tpr" in rates:
        gaps = [float(np.nanmax(r) - np.nanmin(r)) for r in (rates["tpr"], rates["fpr"])]
        values["true_positive_rate_gap"], values["false_positive_rate_gap"] = gaps
        values["equalized_odds_difference"] = max(gaps)
    return values
