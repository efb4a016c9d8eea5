"""Intervals for the accuracies of groups, one by one and all at once, and whether they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.binomial import wilson
from percert.fairness.least_squares import Array, pooled
from percert.fairness.random_effects import paule_mandel

#: Below this expected count the chi-square distribution is not trusted.
_FEW = 5.0


@dataclass(frozen=True)
class Extremes:
    """Intervals for the lowest and highest true share, their gap and their ratio.

    They hold all at once, whatever group attains the extremes. ``candidates`` says which groups
    may be the lowest.
    """

    worst: tuple[float, float]
    best: tuple[float, float]
    gap: tuple[float, float]
    ratio: tuple[float, float]
    candidates: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Heterogeneity:
    """Do the groups differ at all? Pearson's chi-square of right and wrong by group.

    It is Cochran's Q with the variance of the pooled share. ``by_simulation`` says that the p-value
    is the share of simulated draws, because some group expects fewer than 5 right or wrong.
    """

    statistic: float
    df: int
    p_value: float
    by_simulation: bool


def clopper_pearson(share: Array, n: Array, confidence: float) -> tuple[Array, Array]:
    """The exact interval of Clopper and Pearson (1934): it covers at least as often as it says.

    ``n`` need not be whole: for a share of another kind it is the number of independent images that
    would know it as well (Korn and Graubard, 1998).

    >>> lower, upper = clopper_pearson(np.array([1.0]), np.array([10.0]), 0.95)
    >>> round(float(lower[0]), 4), float(upper[0])
    (0.6915, 1.0)
    """
    tail = (1 - confidence) / 2
    right, wrong = share * n, (1 - share) * n
    with np.errstate(invalid="ignore"):
        lower = np.where(right > 0, stats.beta.ppf(tail, right, wrong + 1), 0.0)
        upper = np.where(wrong > 0, stats.beta.isf(tail, right + 1, wrong), 1.0)
    return lower, upper


def newcombe(
    share: tuple[float, float], n: tuple[float, float], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of ``share[1] - share[0]`` of two independent groups.

    Newcombe's hybrid score interval (1998, method 10), from both of Wilson's.

    >>> low, high = newcombe((0.5, 0.7), (100.0, 100.0))
    >>> round(low, 3), round(high, 3)
    (0.064, 0.326)
    """
    lower, upper = wilson(np.array(share), np.array(n), confidence)
    first, second = share
    gap = second - first
    down = np.hypot(second - lower[1], upper[0] - first)
    up = np.hypot(upper[1] - second, first - lower[0])
    return float(gap - down), float(gap + up)


def extremes(share: Array, n: Array, confidence: float = 0.95) -> Extremes:
    """Intervals of the extremes of independent groups; ``share`` and ``n`` are ``(groups,)``.

    Exact intervals of all groups, each at ``confidence ** (1 / groups)``, hold together in at least
    ``confidence`` of all samples (Sidak, 1967). Where they do, the lowest true share lies between
    their lowest lower and lowest upper end, and likewise the rest. A bootstrap cannot do this: the
    lowest of noisy estimates lies below the lowest truth, and drawing again lowers it further.

    >>> found = extremes(np.array([0.5, 0.9]), np.array([400.0, 400.0]))
    >>> 0.3 < found.gap[0] < 0.4 < found.gap[1] < 0.5, found.candidates
    (True, array([ True, False]))
    """
    lower, upper = clopper_pearson(share, n, confidence ** (1 / len(share)))
    ends = extreme_ends(lower, upper)
    worst, best, gap, ratio = ((float(low), float(high)) for low, high in ends)
    return Extremes(worst, best, gap, ratio, lower <= upper.min())


def extreme_ends(lower: Array, upper: Array) -> tuple[tuple[Array, Array], ...]:
    """Worst, best, gap and ratio, each from low to high, where all groups lie within their ends.

    ``lower`` and ``upper`` are ``(..., groups)``.

    >>> worst, best, gap, ratio = extreme_ends(np.array([0.1, 0.5]), np.array([0.3, 0.7]))
    >>> float(gap[0]), round(float(gap[1]), 3)
    (0.2, 0.6)
    """
    worst = (lower.min(-1), upper.min(-1))
    best = (lower.max(-1), upper.max(-1))
    gap = (np.maximum(0.0, best[0] - worst[1]), best[1] - worst[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(best[1] > 0, worst[0] / best[1], 0.0)
        high = np.where(best[0] > 0, np.minimum(1.0, worst[1] / best[0]), 1.0)
    return worst, best, gap, (low, high)


def heterogeneity(
    share: Array, n: Array, *, draws: int = 2000, seed: int = 0
) -> Heterogeneity | None:
    """Whether groups differ more than the luck of the draw explains.

    ``None`` where there is one group, or every image is right, or every one wrong.

    >>> found = heterogeneity(np.array([0.5, 0.6, 0.9]), np.array([100.0, 100.0, 100.0]))
    >>> found.df, found.p_value < 1e-6
    (2, True)
    """
    total = float(n @ share)
    if len(n) < 2 or total <= 0 or total >= n.sum():
        return None
    pool = total / float(n.sum())
    statistic = float(_chi_square(share[None], n)[0])
    few = float(n.min()) * min(pool, 1 - pool) < _FEW
    p_value = float(stats.chi2.sf(statistic, len(n) - 1))
    if few and draws:
        drawn = np.random.default_rng(seed).binomial(n.astype(int), pool, (draws, len(n))) / n
        p_value = (1 + float((_chi_square(drawn, n) >= statistic * (1 - 1e-12)).sum())) / (
            draws + 1
        )
    return Heterogeneity(statistic, len(n) - 1, p_value, few and draws > 0)


def _chi_square(share: Array, n: Array) -> Array:
    pool = pooled(share, n)[:, None]
    statistic: Array = (n * (share - pool) ** 2 / (pool * (1 - pool))).sum(1)
    return statistic


def shrunken(share: Array, n: Array) -> tuple[Array, float]:
    """Each share drawn towards the mean by how little its images know, and the groups' spread.

    The spread tau of the true shares is Paule and Mandel's; a group of n images keeps
    tau^2 / (tau^2 + p (1 - p) / n) of its distance from the mean. Of many small groups the best and
    the worst are mostly lucky or unlucky; these estimates are nearer the truth on average (Efron
    and Morris, 1975).

    >>> estimates, tau = shrunken(np.array([0.2, 0.6, 0.7]), np.array([5.0, 500.0, 500.0]))
    >>> bool(0.2 < estimates[0] < 0.6), tau > 0
    (True, True)
    """
    pool = pooled(share[None], n)[0]
    unit = pool * (1 - pool)
    ones = np.full((len(n), 1), len(n) ** -0.5)
    tau2 = 0.0
    if len(n) > 1:
        tau2 = float(paule_mandel(share[None] / np.sqrt(unit), n, ones)[0] * unit)
    variances = unit / n + tau2
    mean = float((share / variances).sum() / (1 / variances).sum())
    estimates: Array = mean + tau2 / variances * (share - mean)
    return estimates, float(np.sqrt(tau2))


@dataclass(frozen=True)
class Difference:
    """The share of group ``second`` less that of group ``first``, with Newcombe's interval."""

    first: str
    second: str
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class GroupEstimates:
    """One model's groups one by one, ``(groups,)`` each, and whether they differ at all.

    ``lower`` and ``upper`` are Wilson's interval of each group's accuracy, ``shrunken`` the
    accuracy drawn towards the mean by how little its images know, ``spread`` the estimated standard
    deviation of the true accuracies. ``difference`` is there for two groups alone.
    """

    lower: Array
    upper: Array
    shrunken: Array
    spread: float
    heterogeneity: Heterogeneity | None
    difference: Difference | None


def group_estimates(
    names: Sequence[str],
    share: Array,
    n: Array,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> GroupEstimates:
    """The estimates of groups called ``names``, whose shares and images are ``(groups,)``.

    >>> found = group_estimates(["a", "b"], np.array([0.5, 0.7]), np.array([100.0, 100.0]))
    >>> round(found.difference.value, 3), found.heterogeneity.p_value < 0.01
    (0.2, True)
    """
    difference = None
    if len(n) == 2:
        interval = newcombe((share[0], share[1]), (n[0], n[1]), confidence)
        difference = Difference(names[0], names[1], float(share[1] - share[0]), interval)
    return GroupEstimates(
        *wilson(share, n, confidence),
        *shrunken(share, n),
        heterogeneity(share, n, draws=draws, seed=seed),
        difference,
    )
