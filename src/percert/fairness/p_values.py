"""p-values: Holm's correction for several tests, and the check on statistics that papers print."""

from typing import Literal

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted by Holm's method: below 0.05, the chance of any false alarm is as well.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    # statsmodels' multipletests collects garbage on every call, which takes longer than the audit.
    order = np.argsort(p_values)
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def f_p_value(statistic: float, df: tuple[float, float]) -> float:
    """P(F >= statistic) of an F-test with ``df`` = (numerator, denominator) degrees of freedom.

    Section 4 of Human Imperceptible Attacks prints F = 5.392 with (1, 39) and 0.02554:

    >>> round(f_p_value(5.392, (1, 39)), 5)
    0.02554
    """
    if not (statistic >= 0 and min(df) > 0):
        raise ValueError(
            f"F-test: expected a statistic of at least 0 and positive df, found {statistic}, {df}"
        )
    return float(stats.f.sf(statistic, *df))


def t_p_value(
    statistic: float, df: float, alternative: Literal["greater", "less", "two-sided"] = "greater"
) -> float:
    """The p-value of a t-test with ``df`` degrees of freedom.

    The same section prints t = 3.852 with 0.00017 for two times 50 models, and no degrees of
    freedom. That is the one-sided p-value of a *paired* test, 49 degrees of freedom:

    >>> round(t_p_value(3.852, 49), 5)
    0.00017

    The two-sample test that its words describe would have 98, and another p-value; the two-sided
    paired one yet another:

    >>> round(t_p_value(3.852, 98), 5), round(t_p_value(3.852, 49, "two-sided"), 5)
    (0.0001, 0.00034)
    """
    if not df > 0:
        raise ValueError(f"t-test: expected positive degrees of freedom, found {df}")
    if alternative == "two-sided":
        return float(2 * stats.t.sf(abs(statistic), df))
    return float(stats.t.sf(statistic if alternative == "greater" else -statistic, df))
