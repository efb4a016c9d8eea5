"""Fair within a margin: tests that groups differ by less than so much, and what the data can see.

A test of "no difference" that does not reject shows nothing. Here the null hypothesis is that the
difference is at least the margin, and rejecting it shows that it is smaller: two one-sided tests
(TOST, Schuirmann 1987), for the slope and for every pair of groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import brentq  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import LEVEL, TestResult, within_may, within_may_not
from percert.fairness.least_squares import Array, design_of, pooled
from percert.fairness.random_effects import critical, p_value_of
from percert.fairness.regression import fit_lines
from percert.reports.table import Column, Table

#: The power for which the least detectable difference is stated.
POWER = 0.8


@dataclass(frozen=True)
class Resolution:
    """What one model's groups can show: all of them, or along the line on ``attribute``.

    ``detectable`` is the true difference of shares that the test of "no difference" finds four
    times in five: along the line from the lowest to the highest attribute here, or between the two
    smallest groups (larger ones show less). ``within`` is the smallest margin within which these
    data show the groups to be fair at the level 0.05; ``test`` is for the margin that was asked
    for, ``None`` where none was.
    """

    model: str
    attribute: str | None
    difference: float
    detectable: float
    within: float
    test: TestResult | None

    def adjusted(self, p_adjusted: float, tests: int, outcome: str) -> "Resolution":
        """The same as one of several ``tests``, whose sentence follows the adjusted p-value."""
        assert self.test is not None
        may = within_may(
            self.test.p_value, p_adjusted, self.test.effect, self.within, self.attribute, outcome,
            tests,
        )  # fmt: skip
        return replace(self, test=self.test.adjusted(p_adjusted, may))


def groups_within(
    share: Array,
    n: Array,
    margin: float | None = None,
    *,
    model: str = "the model",
    outcome: str = "accuracy",
) -> Resolution:
    """Are all groups within ``margin`` of each other? ``share`` and ``n`` are ``(groups,)``.

    Each pair is tested against a difference of ``margin`` either way by the score test of
    Farrington and Manning (1990); the largest p-value counts, so that the level holds without any
    correction (Berger, 1982). With one group, ``ValueError``.

    >>> found = groups_within(np.array([0.90, 0.91]), np.array([2000.0, 2000.0]), 0.05)
    >>> found.test.significant, 0.02 < found.within < 0.03
    (True, True)
    """
    share, n = np.asarray(share, float), np.asarray(n, float)
    if len(share) < 2:
        raise ValueError(f"groups: expected at least 2 to compare, found {len(share)}")
    gap = float(np.ptp(share))
    pool = float(pooled(share[None], n)[0])
    first, second = np.sort(n)[:2]
    unit = pool * (1 - pool) * (1 / first + 1 / second)
    detectable = float(np.sqrt(noncentrality_chi2(len(n) - 1, POWER) * unit))
    within = _smallest(lambda value: pairs_p_value(share, n, value) - LEVEL, gap)
    test = None
    if margin is not None:
        check_margin(margin)
        test = _result(
            "equivalence of every pair of groups, score tests, the largest p-value",
            pairs_p_value(share, n, margin),
            margin,
            within,
            None,
            outcome,
            f"At least two groups differ in {outcome.removeprefix('the ')} by {margin:g} or more.",
        )
    return Resolution(model, None, gap, min(detectable, 1.0), within, test)


def slope_within(
    accuracy: Array,
    attribute: Array,
    n: Array,
    margin: float | None = None,
    *,
    covariance: str = "between",
    model: str = "the model",
    attribute_name: str = "the attribute",
    outcome: str = "accuracy",
) -> Resolution:
    """Does the line change by less than ``margin`` from the lowest to the highest attribute?

    Two one-sided tests of the slope, with the errors and the null distribution of ``fit_line``.

    >>> x = np.arange(12.0)
    >>> share = 0.9 + 0.01 * np.cos(x)
    >>> slope_within(share, x, np.full(12, 900.0), 0.1).test.significant
    True
    """
    accuracy, attribute, n = (np.asarray(values, float) for values in (accuracy, attribute, n))
    design = design_of(attribute)
    reach = float(np.ptp(attribute))
    lines = fit_lines(accuracy[None], design, n, covariance)
    slope, error = float(lines.slope[0]), float(np.sqrt(lines.variance[0]))
    freedom = len(n) - 2

    def limit(level: float) -> float:
        if covariance == "between":
            return critical(accuracy, n, design, level)
        return float(stats.f.isf(level, 1, freedom))

    def one_sided(distance: float) -> float:
        """The p-value of the slope's lying so far on the right side of the margin."""
        f = np.array([(distance / error) ** 2 if error > 0 else np.inf])
        if covariance == "between":
            p_value = float(p_value_of(accuracy[None], n, design, f)[0])
        else:
            p_value = float(stats.f.sf(f[0], 1, freedom))
        return p_value / 2 if distance > 0 else 1 - p_value / 2

    within = (abs(slope) + error * float(np.sqrt(limit(2 * LEVEL)))) * reach
    usual = float(np.sqrt(limit(LEVEL)))
    shift = brentq(lambda shift: _power_t(shift, usual, freedom) - POWER, 0.0, 4 * usual + 20)
    test = None
    if margin is not None:
        check_margin(margin)
        edge = margin / reach
        ends = f"{attribute.min():.4g} to {attribute.max():.4g}"
        test = _result(
            f"equivalence of the slope, two one-sided tests, covariance {covariance}",
            max(one_sided(edge - slope), one_sided(edge + slope)),
            margin,
            within,
            attribute_name,
            outcome,
            f"Along the line {outcome} changes by {margin:g} or more from the lowest to the "
            f"highest {attribute_name} here ({ends}), up or down.",
        )
    return Resolution(
        model, attribute_name, abs(slope) * reach, float(shift) * error * reach, within, test
    )


def _result(
    name: str,
    p_value: float,
    margin: float,
    within: float,
    attribute: str | None,
    outcome: str,
    null: str,
) -> TestResult:
    return TestResult(
        name=name,
        statistic=float(stats.norm.isf(p_value)),
        df=(),
        p_value=p_value,
        p_adjusted=p_value,
        effect=margin,
        effect_name="the margin",
        interval=None,
        null=null,
        may=within_may(p_value, p_value, margin, within, attribute, outcome),
        may_not=within_may_not(),
    )


def check_margin(margin: float) -> float:
    """Return ``margin`` if it is a difference of shares, else raise ``ValueError``."""
    if not 0 < margin < 1:
        raise ValueError(f"margin: expected a difference of shares in (0, 1), found {margin:g}")
    return margin


def _smallest(excess: Any, gap: float) -> float:
    """The root of a falling function of the margin, between the gap seen and 1."""
    low, high = gap, 1 - 1e-9
    if high <= low or excess(high) > 0:
        return 1.0
    return float(brentq(excess, low, high, xtol=1e-7))


def _power_t(shift: float, limit: float, freedom: int) -> float:
    above = stats.nct.sf(limit, freedom, shift)
    below = stats.nct.cdf(-limit, freedom, shift)
    return float(above + (below if np.isfinite(below) else 0.0))


def noncentrality_chi2(df: int, power: float) -> float:
    """With which the chi-square test at 0.05 has ``power``.

    >>> round(noncentrality_chi2(1, 0.8), 2)  # (1.96 + 0.84)^2
    7.85
    """
    limit = stats.chi2.isf(LEVEL, df)
    found = brentq(lambda size: stats.ncx2.sf(limit, df, size) - power, 1e-9, 1e4)
    return float(found)


def pairs_p_value(share: Array, n: Array, margin: float) -> float:
    """The largest p-value of any ordered pair's being ``margin`` or more apart."""
    rows, columns = np.nonzero(~np.eye(len(share), dtype=bool))
    p_values = score_p_values(share[rows], n[rows], share[columns], n[columns], margin)
    return float(p_values.max())


def score_p_values(first: Array, n: Array, second: Array, m: Array, margin: float) -> Array:
    """One-sided p-values of H0: ``first - second >= margin``, element by element.

    The variance is that of the maximum-likelihood shares which are ``margin`` apart, the root of a
    cubic in closed form (Farrington and Manning 1990).

    >>> one = np.array([1.0])
    >>> p_value = score_p_values(0.9 * one, 100 * one, 0.9 * one, 100 * one, 0.1)
    >>> round(float(p_value[0]), 3)
    0.013
    """
    ratio = m / n
    a = 1 + ratio
    b = -(1 + ratio + first + ratio * second + margin * (ratio + 2))
    c = margin**2 + margin * (2 * first + ratio + 1) + first + ratio * second
    d = -first * margin * (1 + margin)
    v = b**3 / (3 * a) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    size = np.sqrt(np.maximum(b**2 / (3 * a) ** 2 - c / (3 * a), 0))
    u = np.where(v >= 0, size, -size)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(u != 0, v / u**3, 0.0)
    w = (np.pi + np.arccos(np.clip(angle, -1, 1))) / 3
    one = np.clip(2 * u * np.cos(w) - b / (3 * a), margin, 1.0)
    two = np.clip(one - margin, 0.0, 1.0)
    variance = one * (1 - one) / n + two * (1 - two) / m
    distance = first - second - margin
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, distance / np.sqrt(variance), np.sign(distance) * np.inf)
    p_values: Array = stats.norm.cdf(np.nan_to_num(z, nan=0.0, posinf=np.inf, neginf=-np.inf))
    return p_values


def resolutions_table(
    resolutions: Sequence[Resolution], margin: float | None, *, short: bool = False
) -> Table:
    """Within which margin the groups are shown to be fair, and what these data could find."""
    columns: list[Column[Resolution]] = [
        Column("model", lambda entry: entry.model),
        Column(
            "of",
            lambda entry: (
                "all groups" if entry.attribute is None else f"the line on {entry.attribute}"
            ),
        ),
        Column("difference seen", lambda entry: entry.difference, ".4f"),
        Column("shown to be within", lambda entry: entry.within, ".4f"),
    ]
    if margin is not None:
        columns.append(
            Column(
                f"p, fair within {margin:g}",
                lambda entry: entry.test and entry.test.p_adjusted,
                ".4g",
            )
        )
    columns.append(
        Column(
            "least difference detectable",
            lambda entry: entry.detectable,
            ".4f",
            short="least detectable",
        )
    )
    return Table.of(
        resolutions,
        columns,
        "Within: the smallest margin that these data show to be kept, at the level 0.05 (two "
        "one-sided tests). Detectable: the true difference that the test of no difference finds "
        "four times in five; of groups, between the two smallest.",
        short=short,
    )
