"""The F-test of a line through groups that differ of their own; its p-value holds its level.

The accuracy of group i is ``y_i = x_i' b + e_i`` with var ``e_i = tau^2 + p (1 - p) / n_i``: a
spread tau of the groups and the luck of the draw of their n_i images, where p is the share of all
images that are right. (Each group's own share would give groups that happen to be all right the
largest weights: where sizes go with the attribute, that alone rejects in up to half of all draws
without a slope.)

tau^2 is Paule and Mandel's (1982): the one at which the weighted residuals have the size that their
variances promise. The F statistic takes its scale from these residuals (Knapp and Hartung, 2003).
Its usual reference, F with 1 and k - 2 degrees of freedom, takes tau as known. With few groups of
unequal sizes it is not, and the test rejects in up to 10 % of draws where 5 % were promised. So the
p-value is simulated: normal errors of these very groups, at each of several spreads, averaged over
the spreads by how compatible the residuals are with each: the distribution of tau^2 for which
Q(tau^2), the weighted sum of squares, is chi-square with k - 2 degrees of freedom (a generalised
p-value, Tsui and Weerahandi 1989). The simulation knows attribute and sizes alone, so it is done
once for all models. Where a group expects fewer than 5 right or wrong images the errors are not
normal; then images are drawn too, and the larger p-value of the two counts.
"""

from functools import lru_cache

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import brentq  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.least_squares import (
    Array,
    Design,
    Fits,
    Lines,
    block_f,
    f_statistic,
    pooled,
    weighted_fit,
    weighted_residuals,
)

#: Spreads tau^2 at which the null distribution is simulated, beside 0.
SPREADS = 15
#: Simulated draws at each spread.
DRAWS = 2000
#: p-values of the F distribution at which the simulation is read; below the last, its ratio to F's
#: tail there is kept.
READ = np.geomspace(1e-3, 0.999, 60)
#: Expected right and wrong images below which the errors of a group are not taken as normal.
FEW = 5.0
#: Log odds are rounded to this for the simulation with images, so that it is done once for many.
_ODDS = 0.25
#: The widest spread of log odds that images are drawn with.
_WIDEST = 3.0
_STEPS = 100
#: p-values of the F distribution outside of these are clear without a simulation of many columns:
#: it changes them by a factor of up to three.
CLEAR = (1e-4, 0.4)
#: Groups beyond the coefficients with which one column among several has the F distribution.
MANY = 30


def fit_between(accuracy: Array, n: Array, design: Design) -> Lines:
    """Fit every row of ``accuracy`` ``(draws, groups)``; ``n`` ``(groups,)`` images a group.

    >>> from percert.fairness.least_squares import design_of
    >>> accuracy = np.array([[0.5, 0.62, 0.59, 0.71, 0.7, 0.82]])
    >>> found = fit_between(accuracy, np.full(6, 200.0), design_of(np.arange(6.0)))
    >>> round(float(found.slope[0]), 3), round(float(found.tau[0]), 3)
    (0.056, 0.024)
    """
    unit = _unit(accuracy, n)
    scaled = accuracy / np.sqrt(unit)
    fits, weights, tau = _fit(accuracy, n, design)
    slope, variance = fits.along(design.slope)
    variance = variance * fits.squares / _freedom(design)
    f = f_statistic(slope, variance)
    p_value = _Null(design, n).p_value(scaled, f, pooled(accuracy, n))
    return Lines(fits, weights, slope, variance, f, p_value, tau)


def block_between(accuracy: Array, n: Array, design: Design, block: int) -> tuple[Array, Array]:
    """F and p-value, ``(draws,)``, of the last ``block`` columns' coefficients all being 0.

    >>> from percert.fairness.least_squares import design_of
    >>> accuracy = np.array([[0.5, 0.62, 0.59, 0.71, 0.7, 0.82]])
    >>> design = design_of(np.arange(6.0), np.arange(6.0) ** 2, names=("x", "square of x"))
    >>> f, p_value = block_between(accuracy, np.full(6, 200.0), design, 2)
    >>> bool(p_value[0] < 0.05)
    True
    """
    fits, _, _ = _fit(accuracy, n, design)
    f = block_f(fits, block, _freedom(design))
    p_value: Array = stats.f.sf(f, block, _freedom(design))
    if block == 1 and design.basis.shape[1] > 2 and _freedom(design) >= MANY:
        return f, p_value
    rows = (p_value > CLEAR[0]) & (p_value < CLEAR[1]) if block > 1 else p_value >= 0
    if rows.any():
        some = accuracy[rows]
        scaled = some / np.sqrt(_unit(some, n))
        p_value[rows] = _Null(design, n, block).p_value(scaled, f[rows], pooled(some, n))
    return f, p_value


def _fit(accuracy: Array, n: Array, design: Design) -> tuple[Fits, Array, Array]:
    """The fits, their weights, and tau."""
    unit = _unit(accuracy, n)
    tau2 = paule_mandel(accuracy / np.sqrt(unit), n, design.basis)[:, None] * unit
    weights = 1 / (tau2 + unit / n)
    return weighted_fit(accuracy, design.basis, weights), weights, np.sqrt(tau2[:, 0])


def critical(accuracy: Array, n: Array, design: Design, level: float) -> float:
    """The F statistic whose p-value is ``level``, of one model's ``accuracy`` ``(groups,)``.

    Intervals come from it: ``slope -+ sqrt(critical * variance)`` holds 0 exactly where the test
    does not reject. The residuals, and so the weights of the spreads, do not depend on the slope.
    """
    scaled = accuracy[None] / np.sqrt(_unit(accuracy[None], n))
    null, share = _Null(design, n), pooled(accuracy[None], n)
    guess = float(stats.f.isf(level, 1, _freedom(design)))

    def excess(log_f: float) -> float:
        found = null.p_value(scaled, np.array([np.exp(log_f)]), share)
        return float(np.log(found[0]) - np.log(level))

    low = high = float(np.log(guess))
    while excess(low) < 0:
        low -= 1
    while excess(high) > 0:
        high += 1
    return float(np.exp(brentq(excess, low, high, xtol=1e-12))) if low < high else guess


def p_value_of(accuracy: Array, n: Array, design: Design, f: Array) -> Array:
    """The p-value of each row's ``f``, of a slope against any value, as ``fit_between`` has it."""
    scaled = accuracy / np.sqrt(_unit(accuracy, n))
    return _Null(design, n).p_value(scaled, f, pooled(accuracy, n))


def _unit(accuracy: Array, n: Array) -> Array:
    """p (1 - p) of every row, ``(draws, 1)``: in its units the luck of the draw is 1 / n."""
    share = pooled(accuracy, n)[:, None]
    unit: Array = share * (1 - share)
    return unit


def _freedom(design: Design) -> int:
    groups, parameters = design.basis.shape
    return int(groups - parameters)


def paule_mandel(scaled: Array, n: Array, basis: Array) -> Array:
    """tau^2 of every row of ``scaled`` accuracies, y / sqrt(p (1 - p)): ``(draws,)``.

    The weighted sum of squares falls in tau^2 and is convex, so Newton's steps from 0 approach the
    root from below and never pass it. Its derivative is that at fixed coefficients, since these
    minimise it.
    """
    freedom = basis.shape[0] - basis.shape[1]
    tau2 = np.zeros(len(scaled))
    rows = np.arange(len(scaled))
    for _ in range(_STEPS):
        weights = 1 / (1 / n + tau2[rows, None])
        left = weighted_residuals(scaled[rows], basis, weights)
        slope = ((weights * left) ** 2).sum(1)
        excess = np.maximum((weights * left**2).sum(1) - freedom, 0)
        step = np.divide(excess, slope, out=np.zeros_like(slope), where=excess > 0)
        tau2[rows] += step
        rows = rows[step > 1e-13 * tau2[rows]]
        if not len(rows):
            break
    return tau2


class _Null:
    """The distribution of F where the last ``block`` columns do nothing, at several spreads."""

    def __init__(self, design: Design, n: Array, block: int = 1) -> None:
        self._design, self._n, self._block = design, np.asarray(n, float), block
        self._freedom = _freedom(design)
        self._key = (design.basis.tobytes(), design.basis.shape, self._n.tobytes(), block)

    def p_value(self, scaled: Array, f: Array, share: Array) -> Array:
        """The p-value of each row's F, averaged over the spreads that its residuals allow."""
        weights = self._weights(scaled)
        value = self._read(f, weights, _with_normal_errors(*self._key))
        fewest = self._n.min() * np.minimum(share, 1 - share)
        odds = np.round(np.log(share / (1 - share)) / _ODDS) * _ODDS
        for odd in np.unique(odds[fewest < FEW]):
            rows = (odds == odd) & (fewest < FEW)
            found = self._read(f[rows], weights[:, rows], _with_images(*self._key, float(odd)))
            value[rows] = np.maximum(value[rows], found)
        return value

    def _read(self, f: Array, weights: Array, ratios: Array) -> Array:
        reference = np.maximum(stats.f.sf(f, self._block, self._freedom), np.finfo(float).tiny)
        place = np.log(reference)
        # Flat beyond the ends: np.interp keeps the last ratio.
        at_spread = np.stack(
            [reference * np.exp(np.interp(place, np.log(READ), row)) for row in ratios]
        )
        value: Array = np.minimum((weights * at_spread).sum(0), 1.0)
        return value

    def _weights(self, scaled: Array) -> Array:
        """How compatible each spread is with the residuals, ``(1 + SPREADS, draws)``; sums to 1."""
        below = np.stack(
            [
                stats.chi2.cdf(
                    weighted_fit(
                        scaled,
                        self._design.basis,
                        np.broadcast_to(1 / (1 / self._n + tau2), scaled.shape),
                    ).squares,
                    self._freedom,
                )
                for tau2 in _spreads(self._n)
            ]
        )
        between = np.maximum(below[:-1] - below[1:], 0)
        weights = np.zeros_like(below)
        weights[0] = 1 - below[0]
        weights[:-1] += between / 2
        weights[1:] += between / 2
        weights[-1] += below[-1]
        shares: Array = weights / weights.sum(0)
        return shares


def _spreads(n: Array) -> Array:
    """tau^2 in units of p (1 - p): from nothing beside the luck of the draw to all there is."""
    return np.concatenate([[0.0], np.geomspace(0.05 / n.max(), 50 / n.min(), SPREADS)])


@lru_cache(maxsize=64)
def _with_normal_errors(basis: bytes, shape: tuple[int, int], n: bytes, block: int) -> Array:
    """log(p / p of the F distribution) at ``READ``, a row a spread: ``(1 + SPREADS, len(READ))``.

    Of simulated errors only the residuals are drawn, where one column is tested: given these, its
    estimate is normal, so that the chance of each F is known without noise (Rao and Blackwell).
    """
    design, sizes = np.frombuffer(basis).reshape(shape), np.frombuffer(n)
    freedom = shape[0] - shape[1]
    errors = np.random.default_rng(0).normal(size=(_draws(shape), len(design)))
    at = stats.f.isf(READ, block, freedom)
    rows = []
    for tau2 in _spreads(sizes):
        variances = 1 / sizes + tau2
        drawn = errors * np.sqrt(variances)
        true = weighted_fit(drawn, design, np.broadcast_to(1 / variances, errors.shape))
        estimated = paule_mandel(true.residuals, sizes, design)
        weights = 1 / (1 / sizes + estimated[:, None])
        if block > 1:
            found = weighted_fit(drawn, design, weights)
            rows.append(_log_ratios(block_f(found, block, freedom), at, len(drawn)))
            continue
        exact = true.inverse[:, -1, -1]
        found = weighted_fit(true.residuals, design, weights)
        pull, variance = found.coefficients[:, -1], found.inverse[:, -1, -1]
        unit = np.sqrt(exact)
        width = np.sqrt(variance * found.squares / freedom) / unit
        share = np.zeros(len(READ))
        for place, root in enumerate(np.sqrt(at)):
            reach, shift = root * width, pull / unit
            share[place] = (stats.norm.sf(reach - shift) + stats.norm.sf(reach + shift)).mean()
        rows.append(np.log(share / READ))
    ratios: Array = np.stack(rows)
    return ratios


@lru_cache(maxsize=256)
def _with_images(basis: bytes, shape: tuple[int, int], n: bytes, block: int, odds: float) -> Array:
    """The same where right and wrong images are drawn, at these log odds of being right."""
    design, sizes = np.frombuffer(basis).reshape(shape), np.frombuffer(n)
    freedom = shape[0] - shape[1]
    rng = np.random.default_rng(0)
    share = 1 / (1 + np.exp(-odds))
    at, draws = stats.f.isf(READ, block, freedom), _draws(shape)
    rows = []
    for tau2 in _spreads(sizes):
        # A small spread of accuracies is p (1 - p) times that of log odds.
        spread = min(np.sqrt(tau2 / (share * (1 - share))), _WIDEST)
        true = 1 / (1 + np.exp(-(odds + spread * rng.normal(size=(draws, len(sizes))))))
        accuracy = rng.binomial(sizes.astype(int), true) / sizes.astype(int)
        accuracy = accuracy[np.ptp(accuracy, axis=1) > 0]  # the others are not tested
        unit = _unit(accuracy, sizes)
        tau = paule_mandel(accuracy / np.sqrt(unit), sizes, design)[:, None] * unit
        found = weighted_fit(accuracy, design, 1 / (tau + unit / sizes))
        rows.append(_log_ratios(block_f(found, block, freedom), at, draws))
    ratios: Array = np.stack(rows)
    return ratios


def _draws(shape: tuple[int, int]) -> int:
    """Fewer where every draw takes long, for many columns."""
    return DRAWS if shape[1] <= 10 else DRAWS // 4


def _log_ratios(f: Array, at: Array, draws: int) -> Array:
    """How often simulated ``f`` exceed ``at``, by how often F does: its logarithm at ``READ``."""
    above = len(f) - np.searchsorted(np.sort(f), at, side="left")
    ratios: Array = np.log((above + 1) / (draws + 1) / READ)
    return ratios
