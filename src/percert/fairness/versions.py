"""Two models, or versions of one, on the same images: who gained, and is the gap smaller now?

The same images are answered twice, so that only those count that changed: won (wrong before, right
now) and lost. That sees much smaller changes than a comparison of two shares does.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import LEVEL, interval_column
from percert.fairness.groups import ACCURACY, Outcome, check_same_images
from percert.fairness.intervals import clopper_pearson, extremes
from percert.fairness.least_squares import Array
from percert.fairness.p_values import holm
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

#: Of each side's error, the part that is spent on which groups may be the extreme ones.
_CANDIDATES = 0.2
#: More ways of being extreme, before and now, than are gone through one by one.
_MOST_PAIRS = 4_000_000


@dataclass(frozen=True)
class GroupChange:
    """One group, before and now: ``change`` is now less before.

    ``p_value`` is that of the exact McNemar test of no change, ``p_holm`` adjusted for all groups.
    """

    group: str
    n: int
    before: float
    now: float
    won: int
    lost: int
    change: float
    interval: tuple[float, float]
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class VersionComparison:
    """Model ``name`` against ``before``, group by group and as a whole.

    ``gap`` is the highest less the lowest share, before and now; ``gap_change`` has an interval of
    the change of the true gap, whichever groups attain it. ``heterogeneity`` is the chi-square test
    that all groups changed alike: statistic, degrees of freedom, p-value. ``model`` is what several
    versions are of.
    """

    name: str
    before: str
    groups: tuple[GroupChange, ...]
    overall: GroupChange
    gap: tuple[float, float]
    gap_change: float
    gap_interval: tuple[float, float]
    heterogeneity: tuple[float, int, float]
    may: str
    may_not: str
    model: str = ""


def compare_versions(
    now: "pd.DataFrame",
    before: "pd.DataFrame",
    *,
    name: str = "now",
    before_name: str = "before",
    outcome: Outcome = ACCURACY,
    confidence: float = 0.95,
) -> VersionComparison:
    """Compare one model's checked predictions with those of another on the same images.

    ``correct`` of both is the 0/1 outcome. Raises ``ValueError`` where they are not of the same
    images in the same groups, or of fewer than 2 groups.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"image": [str(i) for i in range(80)], "model": "m"})
    >>> table["group"] = ["a"] * 40 + ["b"] * 40
    >>> then = table.assign(correct=[1] * 36 + [0] * 4 + [1] * 20 + [0] * 20)
    >>> now = table.assign(correct=[1] * 36 + [0] * 4 + [1] * 35 + [0] * 5)
    >>> found = compare_versions(now, then)
    >>> [(entry.group, entry.won, entry.lost, entry.p_holm < 0.01) for entry in found.groups]
    [('a', 0, 0, False), ('b', 15, 0, True)]
    >>> round(found.gap_change, 3), found.heterogeneity[2] < 0.001
    (-0.375, True)
    """
    import pandas as pd

    pair = [before.assign(model=f"before/{before_name}"), now.assign(model=f"now/{name}")]
    check_same_images(pd.concat(pair, ignore_index=True, join="inner"))
    first = before.set_index("image").sort_index()
    second = now.set_index("image").sort_index()
    group, names = first["group"].factorize(sort=True)
    if len(names) < 2:
        raise ValueError(f"groups: expected at least 2 to compare, found {len(names)}")
    then, later = first["correct"].to_numpy(float), second["correct"].to_numpy(float)
    n = np.bincount(group).astype(float)
    won = np.bincount(group, later > then).astype(float)
    lost = np.bincount(group, later < then).astype(float)
    shares = np.stack([np.bincount(group, then) / n, np.bincount(group, later) / n])
    p_values = mcnemar(won, lost)
    lower, upper = change_intervals(won, lost, n, (1 - confidence) / 2)
    groups = tuple(
        GroupChange(str(label), *entry)
        for label, *entry in zip(
            names,
            map(int, n),
            shares[0].tolist(),
            shares[1].tolist(),
            map(int, won),
            map(int, lost),
            (shares[1] - shares[0]).tolist(),
            list(zip(lower.tolist(), upper.tolist(), strict=True)),
            p_values.tolist(),
            holm(p_values.tolist()),
            strict=True,
        )
    )
    overall = _overall(won, lost, n, shares, confidence)
    gap = (float(np.ptp(shares[0])), float(np.ptp(shares[1])))
    both = np.bincount(group, then * later).astype(float)
    interval = gap_change_interval(shares * n, both, n, confidence)
    return VersionComparison(
        name=name,
        before=before_name,
        groups=groups,
        overall=overall,
        gap=gap,
        gap_change=gap[1] - gap[0],
        gap_interval=interval,
        heterogeneity=_alike(won, lost, n),
        may=_may(groups, gap, interval, confidence, outcome),
        may_not=(
            "Not that a smaller gap is better for anyone: it also shrinks where the best group "
            "falls; look at each group's change. Not for other images, groups or trainings than "
            "these: one training of each was compared, and another may differ as much by its seed "
            "alone."
        ),
    )


def mcnemar(won: Array, lost: Array) -> Array:
    """The exact two-sided p-values of McNemar's test (1947), ``(groups,)`` each.

    Of the images that changed, each is as likely won as lost.

    >>> mcnemar(np.array([0.0, 8.0]), np.array([0.0, 0.0]))
    array([1.       , 0.0078125])
    """
    fewer = np.minimum(won, lost)
    p_values: Array = np.minimum(1.0, 2 * stats.binom.cdf(fewer, won + lost, 0.5))
    return p_values


def change_intervals(won: Array, lost: Array, n: Array, tail: float) -> tuple[Array, Array]:
    """Of the change of each share, with ``tail`` on either side: Bonett and Price's (2012).

    One image is added to those won and to those lost; then it is Wald's.

    >>> lower, upper = change_intervals(*np.array([[10.0], [4.0], [100.0]]), 0.025)
    >>> round(float(lower[0]), 3), round(float(upper[0]), 3)
    (-0.017, 0.135)
    """
    gain, loss = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    change = gain - loss
    reach = stats.norm.isf(tail) * np.sqrt((gain + loss - change**2) / (n + 2))
    return np.maximum(change - reach, -1.0), np.minimum(change + reach, 1.0)


def gap_change_interval(
    right: Array, both: Array, n: Array, confidence: float = 0.95
) -> tuple[float, float]:
    """Of the change of the gap between the true extremes, whichever groups these are.

    ``right`` ``(2, groups)`` are the images right before and now, ``both`` those right both times.
    Let i be the best and j the worst group now. The gap before was at least p(a) - p(b) of any two
    groups, so the gap grew by at most p'(i) - p'(j) - p(a) + p(b), for each of which there is
    Wald's interval (half an image added to each of a group's four counts; Bonferroni's for all a
    and b). Of these bounds the lowest counts, and of all i and j that may be the extremes (exact
    intervals of all groups at once) the highest. Below likewise, with before and now exchanged.
    Comparing the groups that *look* extreme before would call every gap smaller that was large by
    luck.

    >>> right, both = np.array([[90.0, 50.0], [90.0, 80.0]]), np.array([90.0, 50.0])
    >>> low, high = gap_change_interval(right, both, np.array([100.0, 100.0]))
    >>> round(low, 2), round(high, 2)
    (-0.4, -0.18)
    """
    tail = (1 - confidence) / 2
    sure = 1 - tail * _CANDIDATES
    held = [clopper_pearson(row / n, n, sure ** (1 / len(n))) for row in right]
    may = [_extreme_pairs(low, high) for low, high in held]
    every = np.argwhere(~np.eye(len(n), dtype=bool))
    if len(every) * max(map(len, may)) > _MOST_PAIRS:
        before, now = (extremes(row / n, n, (1 + confidence) / 2).gap for row in right)
        return now[0] - before[1], now[1] - before[0]
    z = float(stats.norm.isf(tail * (1 - _CANDIDATES) / len(every)))
    change, error = _changes(right, both, n, every, may[1])
    high = float((change + z * error).min(0).max())
    change, error = _changes(right, both, n, may[0], every)
    low = float((change - z * error).max(1).min())
    return low, high


def _changes(
    right: Array, both: Array, n: Array, before: npt.NDArray[np.int64], now: npt.NDArray[np.int64]
) -> tuple[Array, Array]:
    """p'(i) - p'(j) - p(a) + p(b) and its error: a row each (a, b) before, a column each (i, j)."""
    share = (right + 1) / (n + 2)
    alone = share * (1 - share) / (n + 2)
    shared = ((both + 0.5) / (n + 2) - share[0] * share[1]) / (n + 2)
    best, worst = before.T[:, :, None]
    best_now, worst_now = now.T[:, None]
    change = share[1][best_now] - share[1][worst_now] - share[0][best] + share[0][worst]
    variance = alone[1][best_now] + alone[1][worst_now] + alone[0][best] + alone[0][worst]
    variance = variance - 2 * shared[best] * ((best_now == best) * 1.0 - (worst_now == best))
    variance = variance - 2 * shared[worst] * ((worst_now == worst) * 1.0 - (best_now == worst))
    return change, np.sqrt(variance)


def _extreme_pairs(low: Array, high: Array) -> npt.NDArray[np.int64]:
    """Which groups, within their ends, may be the best and the worst: ``(pairs, 2)`` places."""
    may = (high >= low.max())[:, None] & (low <= high.min())[None] & ~np.eye(len(low), dtype=bool)
    pairs: npt.NDArray[np.int64] = np.argwhere(may)
    return pairs


def _overall(won: Array, lost: Array, n: Array, shares: Array, confidence: float) -> GroupChange:
    total = n.sum()
    sums = np.array([won.sum()]), np.array([lost.sum()])
    lower, upper = change_intervals(*sums, np.array([total]), (1 - confidence) / 2)
    p_value = float(mcnemar(*sums)[0])
    before, now = (float(row @ n / total) for row in shares)
    return GroupChange(
        "all", int(total), before, now, int(won.sum()), int(lost.sum()), now - before,
        (float(lower[0]), float(upper[0])), p_value, p_value,
    )  # fmt: skip


def _alike(won: Array, lost: Array, n: Array) -> tuple[float, int, float]:
    """Whether all groups changed alike: weighted squares of the changes about their mean.

    Every group's variance is that of the pooled shares of won and lost images, as in Pearson's test
    of equal shares: a group without a change would else weigh most.
    """
    gain, loss = won.sum() / n.sum(), lost.sum() / n.sum()
    unit = gain + loss - (gain - loss) ** 2
    df = len(n) - 1
    if unit <= 0:
        return 0.0, df, 1.0
    change = (won - lost) / n
    statistic = float((n * (change - (gain - loss)) ** 2).sum() / unit)
    return statistic, df, float(stats.chi2.sf(statistic, df))


def _may(
    groups: tuple[GroupChange, ...],
    gap: tuple[float, float],
    interval: tuple[float, float],
    confidence: float,
    outcome: Outcome,
) -> str:
    def listed(sign: int) -> str:
        names = [
            entry.group for entry in groups if entry.p_holm < LEVEL and sign * entry.change > 0
        ]
        return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "no group"

    seen = f"{gap[0]:.4f} before and {gap[1]:.4f} now, a change between {interval[0]:+.4f} and "
    seen += f"{interval[1]:+.4f} ({confidence:.0%} confidence interval)"
    if interval[1] < 0:
        verdict = f"The gap between the groups is smaller than before: {seen}."
    elif interval[0] > 0:
        verdict = f"The gap between the groups is larger than before: {seen}."
    else:
        verdict = f"That the gap became smaller or larger is not shown: {seen}."
    return (
        f"{verdict} By McNemar's tests (Holm's method over {len(groups)} groups) "
        f"{outcome.words} rose in {listed(1)} and fell in {listed(-1)}."
    )


def versions_table(found: VersionComparison, confidence: float, *, short: bool = False) -> Table:
    """Every group before and now, and all together."""
    statistic, df, p_value = found.heterogeneity
    columns: list[Column[GroupChange]] = [
        Column("group", lambda entry: entry.group),
        Column("images", lambda entry: entry.n, ",", short="n"),
        Column("before", lambda entry: entry.before, ".4f"),
        Column("now", lambda entry: entry.now, ".4f"),
        Column("won", lambda entry: entry.won, "d"),
        Column("lost", lambda entry: entry.lost, "d"),
        Column("change", lambda entry: entry.change, "+.4f"),
        interval_column(confidence, lambda entry: entry.interval, "+.4f"),
        Column("p alone", lambda entry: entry.p_value, ".4g"),
        Column(
            "p, Holm",
            lambda entry: None if entry is found.overall else entry.p_holm,
            ".4g",
            missing="",
        ),
    ]
    return Table.of(
        (*found.groups, found.overall),
        columns,
        f"{found.name} against {found.before} on the same images. Won: wrong before, right now. "
        "Exact McNemar tests; of all groups together without Holm's correction. That all groups "
        f"changed alike: chi-square {statistic:.4g}, df {df}, p = {p_value:.4g}.",
        short=short,
    )
