"""How far distances agree with what people said: the usual statistics, with intervals.

Correlations of ranks (Spearman, Kendall's tau-b), Pearson's after the logistic of VQEG (Final
Report, FR-TV Phase I, 2000), 2AFC agreement, and the area under the ROC curve. Intervals are
percentiles of a bootstrap over pictures: all that was asked of a picture is drawn together, for
answers about one picture are alike. Needs scipy.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from percert.extras import install_extra

Array: TypeAlias = npt.NDArray[np.float64]
Index: TypeAlias = npt.NDArray[np.intp]
#: A statistic of those of the answers that an index names.
Statistic: TypeAlias = Callable[[Index], float]


@dataclass(frozen=True)
class Estimate:
    """A statistic and the ends of its 95 % interval; ``None`` where they are not defined."""

    value: float | None
    low: float | None
    high: float | None


def spearman(distances: Array, said: Array) -> float:
    """Spearman's rank correlation.

    >>> spearman(np.array([0.1, 0.2, 0.9]), np.array([0.0, 0.3, 0.4]))
    1.0
    """
    rank = _stats().rankdata
    return pearson(rank(distances), rank(said))


def kendall(distances: Array, said: Array) -> float:
    """Kendall's tau-b, which allows for ties."""
    if len(said) < 3 or np.ptp(distances) == 0 or np.ptp(said) == 0:
        return math.nan
    return float(_stats().kendalltau(distances, said).statistic)


def _stats() -> Any:
    try:
        from scipy import stats  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ValueError(f"correlations need scipy: {install_extra('people')}") from None
    return stats


def pearson(predicted: Array, said: Array) -> float:
    """Pearson's correlation; of distances as they are, take :func:`logistic_fit` of them first."""
    if len(said) < 3 or np.ptp(predicted) == 0 or np.ptp(said) == 0:
        return math.nan
    return float(np.corrcoef(predicted, said)[0, 1])


def rmse(predicted: Array, said: Array) -> float:
    """The root of the mean square of what is missed; not defined of fewer than three."""
    return float(np.sqrt(((predicted - said) ** 2).mean())) if len(said) >= 3 else math.nan


#: The numbers that the logistic has: so many distances it meets exactly, whatever was said.
PARAMETERS = 4


def logistic_fit(distances: Array, said: Array) -> Array:
    """``said`` as the best monotone logistic of ``distances`` has it: VQEG's, of four parameters.

    b2 + (b1 - b2) / (1 + exp(-(d - b3) / |b4|)), by least squares. Where that finds nothing better
    than a straight line, and for so few distances that it passes through all, the line.

    >>> x = np.linspace(0, 1, 50)
    >>> y = 0.1 + 0.8 / (1 + np.exp(-(x - 0.4) / 0.1))
    >>> float(np.abs(logistic_fit(x, y) - y).max()) < 1e-6
    True
    """
    try:
        from scipy.optimize import least_squares  # type: ignore[import-untyped]  # no types
    except ImportError:
        raise ValueError(f"the logistic fit needs scipy: {install_extra('people')}") from None
    if len(said) < 3 or np.ptp(distances) == 0:
        return np.full_like(said, said.mean() if len(said) else math.nan)
    # Where distances lie on another scale than 1, steps of the fit would be too small or too large.
    x = (distances - np.median(distances)) / distances.std()

    def curve(b: Array) -> Array:
        z = np.clip((x - b[2]) / (abs(b[3]) + 1e-9), -500, 500)
        return np.asarray(b[1] + (b[0] - b[1]) / (1 + np.exp(-z)))

    line = np.polynomial.Polynomial.fit(x, said, 1)(x)
    if len(np.unique(x)) <= PARAMETERS:
        return np.asarray(line, dtype=np.float64)
    best, error = line, float(((line - said) ** 2).sum())
    for width in (0.1, 0.5, 2.0):
        start = np.array([said.max(), said.min(), 0.0, width])
        fitted = least_squares(lambda b: curve(b) - said, start, max_nfev=400).x
        here = float(((curve(fitted) - said) ** 2).sum())
        if here < error:
            best, error = curve(fitted), here
    return np.asarray(best, dtype=np.float64)


def auc(distances: Array, seen: Array, unseen: Array) -> float:
    """How often something seen has the greater distance than something not seen, ties a half.

    ``seen`` and ``unseen`` are the weights of each distance on either side: answers, or 1 and 0.

    >>> auc(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    0.625
    """
    order, place = np.unique(distances, return_inverse=True)
    positive = np.bincount(place, seen, len(order))
    negative = np.bincount(place, unseen, len(order))
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else math.nan


def credits_of(left: Array, right: Array, share: Array) -> Array:
    """What each triplet counts for: the share of judges who agree with the closer one; a tie, 1/2.

    >>> credits_of(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0]), np.array([0.25] * 3))
    array([0.75, 0.25, 0.5 ])
    """
    return np.where(left == right, 0.5, np.where(right < left, share, 1 - share))


def clusters(pictures: Sequence[str]) -> list[Index]:
    """The places of each picture's answers.

    >>> [found.tolist() for found in clusters(["a", "b", "a"])]
    [[0, 2], [1]]
    """
    _, place = np.unique(np.asarray(pictures), return_inverse=True)
    order = np.argsort(place, kind="stable")
    return np.split(order, np.cumsum(np.bincount(place))[:-1])


def estimate(
    statistic: Statistic, groups: Sequence[Index], *, draws: int = 1000, seed: int = 0
) -> Estimate:
    """The statistic of all, and the percentiles 2.5 and 97.5 of it over ``draws`` of the groups.

    Draws on which it is not defined are left out; of one group alone there is no interval.

    >>> values = np.arange(10.0)
    >>> estimate(lambda i: float(values[i].mean()), clusters([str(i) for i in range(10)])).value
    4.5
    """
    value = statistic(np.sort(np.concatenate(list(groups))))
    if not math.isfinite(value):
        return Estimate(None, None, None)
    if len(groups) < 2:
        return Estimate(value, None, None)
    generator = np.random.default_rng(seed)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a draw may hold one value alone
        for _ in range(draws):
            drawn = generator.integers(0, len(groups), len(groups))
            found.append(statistic(np.concatenate([groups[i] for i in drawn])))
    finite = np.array([one for one in found if math.isfinite(one)])
    if not len(finite):
        return Estimate(value, None, None)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
