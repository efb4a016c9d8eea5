"""Whether probabilities mean the same in every group: 0.8 is right in 80 % of its cases.

A model may be as often right in two groups and yet be sure of itself in one and not in the other.
Of each group the probabilities of the positive class are held against how often it was the label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import brentq  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import LEVEL, interval_column
from percert.fairness.groups import numbers_first
from percert.fairness.least_squares import Array
from percert.fairness.p_values import holm
from percert.reports.page import Block, Paragraph, Section
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

#: Bins of about as many images each, over which the calibration error is a mean.
BINS = 10
#: The largest shift of log odds that is looked at.
_STEEPEST = 40.0


@dataclass(frozen=True)
class GroupCalibration:
    """One group: its positives less the mean probability, ``excess``, with its interval.

    ``error`` is the mean distance of probability and share over bins of its images (the expected
    calibration error), ``by_chance`` what it would be on average where the probabilities are right.
    ``p_value`` is that of Cox's recalibration test that they are, ``p_holm`` over all groups.
    """

    group: str
    n: int
    predicted: float
    observed: float
    excess: float
    interval: tuple[float, float]
    error: float
    by_chance: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Calibration:
    """All groups of one model, and the test (chi-square, df, p) that their excesses are alike."""

    model: str
    groups: tuple[GroupCalibration, ...]
    alike: tuple[float, int, float]

    @property
    def words(self) -> str:
        """What may be concluded, in a sentence."""
        found = [entry.group for entry in self.groups if entry.p_holm < LEVEL]
        names = (
            f"{', '.join(found[:6])}{', ...' if len(found) > 6 else ''}" if found else "no group"
        )
        statistic, df, p_value = self.alike
        verb = "differ" if p_value < LEVEL else "are not shown to differ"
        return (
            f"Probabilities of {self.model} are shown to be wrong in {names} (Cox's recalibration "
            f"test, Holm's method over {len(self.groups)} groups). Groups {verb} in how far "
            "positives "
            f"exceed what was predicted: chi-square {statistic:.4g}, df {df}, p = {p_value:.4g}."
        )


def group_calibration(
    rows: "pd.DataFrame",
    *,
    model: str = "the model",
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Calibration:
    """The calibration of one model by group.

    ``rows`` has ``group``, ``probability`` in [0, 1] and ``positive``, 0 or 1.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"group": ["a"] * 100 + ["b"] * 100, "probability": 0.7})
    >>> rows["positive"] = [1] * 70 + [0] * 30 + [1] * 40 + [0] * 60
    >>> found = group_calibration(rows)
    >>> [(entry.group, round(entry.excess, 2), entry.p_holm < 0.05) for entry in found.groups]
    [('a', 0.0, False), ('b', -0.3, True)]
    """
    rng = np.random.default_rng(seed)
    found = []
    parts: list[tuple[Array, Array]] = []
    for group, some in rows.groupby("group", sort=True):
        p = some["probability"].to_numpy(float)
        y = some["positive"].to_numpy(float)
        n = len(p)
        excess = float((y - p).mean())
        drawn = (rng.random((draws, n)) < p).astype(float) if draws else np.zeros((0, n))
        found.append(
            GroupCalibration(
                group=str(group),
                n=n,
                predicted=float(p.mean()),
                observed=float(y.mean()),
                excess=excess,
                interval=excess_interval(p, y, confidence),
                error=float(calibration_error(p, y[None])[0]),
                by_chance=float(calibration_error(p, drawn).mean()) if draws else float("nan"),
                p_value=recalibration_p_value(p, y),
                p_holm=1.0,
            )
        )
        parts.append((p, y))
    adjusted = holm([entry.p_value for entry in found])
    groups = tuple(
        GroupCalibration(**{**vars(entry), "p_holm": p_value})
        for entry, p_value in zip(found, adjusted, strict=True)
    )
    return Calibration(model, groups, _alike(parts))


def excess_interval(
    probability: Array, positive: Array, confidence: float = 0.95
) -> tuple[float, float]:
    """The score interval of the share of positives less the mean probability.

    The probabilities' log odds are shifted by every value that the positives allow; where all
    probabilities are one this is Wilson's interval (1927). The spread is that which the shifted
    probabilities promise, widened where a larger one was seen: they may be wrong otherwise, too.

    >>> low, high = excess_interval(np.full(12, 0.1), np.zeros(12))  # 0 of 12 is not "0 to 0"
    >>> round(low, 3), round(high, 3)
    (-0.1, 0.142)
    """
    n, excess = len(positive), float((positive - probability).mean())
    z = float(stats.norm.isf((1 - confidence) / 2))
    best = _best_shift(probability, positive)
    scale = max(1.0, _scale(probability, positive, best))

    def beyond(shift: float) -> float:
        """How far the excess at this shift is out of reach: negative where it is within."""
        moved = float((_shifted(probability, shift) - probability).mean())
        reach = z * float(np.sqrt(scale * _promised(probability, shift))) / n
        return abs(excess - moved) - reach

    if beyond(best) >= 0:  # sure ones, which no shift moves
        reach = z * (max(float(np.var(positive - probability)), 0.25 / n) / n) ** 0.5
        return excess - reach, excess + reach
    ends = []
    for most in (-_STEEPEST, _STEEPEST):
        at = most if beyond(most) <= 0 else float(brentq(beyond, best, most, xtol=1e-9))
        ends.append(float((_shifted(probability, at) - probability).mean()))
    low, high = min(ends[0], excess), max(ends[1], excess)
    return low, high


def _shifted(probability: Array, shift: float) -> Array:
    """Probabilities whose log odds are larger by ``shift``; 0 and 1 stay."""
    weight = np.exp(shift)
    moved: Array = probability * weight / (probability * weight + (1 - probability))
    return moved


def _best_shift(probability: Array, positive: Array) -> float:
    """The shift under which as many positives are expected as there are, within limits."""
    count = float(positive.sum())

    def more(shift: float) -> float:
        return float(_shifted(probability, shift).sum()) - count

    if more(-_STEEPEST) >= 0:
        return -_STEEPEST
    return _STEEPEST if more(_STEEPEST) <= 0 else float(brentq(more, -_STEEPEST, _STEEPEST))


def _promised(probability: Array, shift: float) -> float:
    """The variance of the number of positives, of shifted probabilities."""
    odds, against = probability * np.exp(shift), 1 - probability
    return float((odds * against / (odds + against) ** 2).sum())  # 1 - p is not rounded off


def _scale(probability: Array, positive: Array, shift: float) -> float:
    """How many times as spread positives are as shifted probabilities promise; 0 for sure ones."""
    promised = _promised(probability, shift)
    if promised <= 0:
        return 0.0
    return float(((positive - _shifted(probability, shift)) ** 2).sum()) / promised


def _alike(parts: Sequence[tuple[Array, Array]]) -> tuple[float, int, float]:
    """The chi-square test that the excesses of all groups are one: statistic, df, p-value.

    The spread of each group's is what all groups together say, as in Pearson's test of equal
    shares: a small group without a surprise would else weigh most.
    """
    p, y = (np.concatenate(values) for values in zip(*parts, strict=True))
    shift = _best_shift(p, y)
    scale, df = _scale(p, y, shift), len(parts) - 1
    if not df or scale <= 0:
        return 0.0, df, 1.0
    excess = np.array([float((y - p).mean()) for p, y in parts])
    spread = np.array([_promised(p, shift) / len(p) ** 2 for p, _ in parts])
    # A quarter of an image at least: of sure probabilities alone a group would weigh without bound.
    least = np.array([0.25 / len(p) ** 2 for p, _ in parts])
    weights = 1 / np.maximum(scale * spread, least)
    mean = float(excess @ weights / weights.sum())
    statistic = float((weights * (excess - mean) ** 2).sum())
    return statistic, df, float(stats.chi2.sf(statistic, df))


def with_probabilities(
    frame: "pd.DataFrame", kept: "pd.DataFrame", positive: str | None
) -> "pd.DataFrame":
    """``kept`` with ``probability`` and ``positive``, 0 or 1, of a table that has two labels.

    The probability is of the class ``positive``, of two labels the second in order.
    """
    import pandas as pd

    label = frame["label"].astype(str).str.strip()
    classes = sorted(label.unique(), key=numbers_first)
    chosen = classes[-1] if positive is None else positive
    sure = pd.to_numeric(frame["probability"], errors="coerce")
    if len(classes) != 2 or chosen not in classes or not ((sure >= 0) & (sure <= 1)).all():
        return kept
    return kept.assign(probability=sure, positive=(label == chosen).astype(int))


def recalibration_p_value(probability: Array, positive: Array) -> float:
    """The p-value that probabilities are right: the score test of Cox's recalibration (1958).

    The log odds of what comes are ``a + b logit(p)``, and the test is of ``a = 0, b = 1``: too low
    or high throughout, or too sure or too unsure. Sure ones (0 and 1) that come otherwise are wrong
    without a test.

    >>> recalibration_p_value(np.array([1.0, 1.0]), np.array([1.0, 0.0]))
    0.0
    """
    sure = (probability == 0) | (probability == 1)
    if (positive[sure] != probability[sure]).any():
        return 0.0
    p, y = probability[~sure], positive[~sure]
    if not len(p):
        return 1.0
    columns = np.stack([np.ones(len(p)), np.log(p / (1 - p))])
    score = columns @ (y - p)
    values, vectors = np.linalg.eigh((columns * (p * (1 - p))) @ columns.T)
    kept = values > 1e-9 * values.max()  # probabilities that are all alike have no slope
    statistic = float(((vectors.T @ score)[kept] ** 2 / values[kept]).sum())
    return float(stats.chi2.sf(statistic, int(kept.sum())))


def calibration_error(probability: Array, positive: Array) -> Array:
    """The expected calibration error of every row of ``positive`` ``(draws, n)``.

    Bins hold about as many images each, in the order of their probability.
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    parts = [np.abs((positive[:, one] - probability[one]).sum(1)) for one in bins]
    error: Array = np.sum(parts, axis=0) / len(probability)
    return error


def calibration_table(found: Calibration, confidence: float, *, short: bool = False) -> Table:
    """Every group's probabilities against what came."""
    columns: list[Column[GroupCalibration]] = [
        Column("group", lambda entry: entry.group),
        Column("images", lambda entry: entry.n, ",", short="n"),
        Column("mean probability", lambda entry: entry.predicted, ".4f", short="predicted"),
        Column("share of positives", lambda entry: entry.observed, ".4f", short="observed"),
        Column("excess", lambda entry: entry.excess, "+.4f"),
        interval_column(confidence, lambda entry: entry.interval, "+.4f"),
        Column("calibration error", lambda entry: entry.error, ".4f", short="error"),
        Column("by chance, if right", lambda entry: entry.by_chance, ".4f", short="by chance"),
        Column("p alone", lambda entry: entry.p_value, ".4g"),
        Column("p, Holm", lambda entry: entry.p_holm, ".4g"),
    ]
    return Table.of(
        found.groups,
        columns,
        f"Calibration of {found.model} by group. Excess: the share of positives less the mean "
        f"probability. The calibration error is over {BINS} bins, and never 0 by chance.",
        short=short,
    )


def calibration_section(found: Mapping[str, Calibration], confidence: float) -> Section:
    """The section of a report."""
    blocks: list[Block] = []
    for entry in found.values():
        blocks += [Paragraph(entry.words, "note"), calibration_table(entry, confidence)]
    blocks.append(
        Paragraph(
            "What may not: Not that a calibrated group is treated well: a model that says the "
            "share of positives of every image is calibrated, and useless. Rates of errors and "
            "calibration cannot both be alike in groups whose shares of positives differ.",
            "warning",
        )
    )
    return Section("Do probabilities mean the same in every group?", tuple(blocks))
