"""Generalised least squares of the groups' accuracies on an attribute, and the F-test of its slope.

:func:`simulated_levels` says how often each covariance's test rejects where there is no slope, on
groups like the user's own.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import LEVEL, TestResult, slope_may, slope_may_not, slope_null
from percert.fairness.least_squares import (
    COVARIANCES,
    Array,
    Design,
    Lines,
    check_covariance,
    design_of,
    f_statistic,
    paper_variances,
    pooled,
    weighted_fit,
)
from percert.fairness.random_effects import critical, fit_between


class CannotEstimate(ValueError):
    """These groups do not tell the errors that a covariance would have to estimate."""


#: With fewer, two parameters leave no error to estimate.
FEWEST_GROUPS = 3


@dataclass(frozen=True)
class Band:
    """How far the line may reach up and down, point by point, at the confidence of its slope.

    ``height``, ``tilt`` and ``slope`` are variance, covariance and variance of the line at
    ``middle`` and of its slope, times the critical F.
    """

    middle: float
    height: float
    tilt: float
    slope: float

    def reach(self, x: Array) -> Array:
        """Of the line at ``x``."""
        away = np.asarray(x, float) - self.middle
        squares = self.height + 2 * self.tilt * away + self.slope * away**2
        reach: Array = np.sqrt(np.maximum(squares, 0.0))
        return reach


@dataclass(frozen=True)
class GroupLine:
    """The line ``accuracy = intercept + slope * attribute`` through the groups.

    ``interval`` is the slope's, ``test`` the F-test of its being 0. ``per_sd`` is the slope for one
    standard deviation of the attribute among the groups: it has no unit. ``cooks`` ``(groups,)``
    are Cook's distances: how far both coefficients move, in units of their uncertainty, without
    that group. ``r2`` is the weighted share of variance that the line explains. ``between`` is the
    estimated spread tau of the groups about the line, where the covariance has one, ``band`` how
    well the line is known.
    """

    covariance: str
    slope: float
    per_sd: float
    intercept: float
    interval: tuple[float, float]
    r2: float
    test: TestResult
    cooks: Array
    between: float | None
    band: Band | None = None


def fit_lines(accuracy: Array, design: Design, n: Array, covariance: str | Array) -> Lines:
    """Fit every row of ``accuracy`` ``(draws, groups)``, and test its slope against 0.

    ``covariance`` is a name in ``COVARIANCES`` or variances ``(groups,)``.
    """
    name = covariance if isinstance(covariance, str) else "given"
    if name == "between":
        return fit_between(accuracy, n, design)
    variances = covariance if isinstance(covariance, np.ndarray) else np.ones_like(n)
    if name == "paper":
        variances = paper_variances(n)
    elif name == "binomial":
        variances = 1 / n  # p (1 - p) is common to all groups, and the residuals give the scale
    weights = np.broadcast_to(1 / variances, accuracy.shape)
    fits = weighted_fit(accuracy, design.basis, weights)
    slope, variance = fits.along(design.slope)
    freedom = design.basis.shape[0] - design.basis.shape[1]
    if name == "robust":  # HC3, MacKinnon and White (1985)
        left = fits.residuals / (1 - (design.basis**2).sum(1))
        variance = ((left * (design.basis @ design.slope)) ** 2).sum(1)
    else:
        variance = variance * fits.squares / freedom
    f = f_statistic(slope, variance)
    return Lines(fits, weights, slope, variance, f, stats.f.sf(f, 1, freedom))


def fit_line(
    accuracy: Array,
    attribute: Array,
    n: Array,
    *,
    covariance: str | Array = "between",
    confidence: float = 0.95,
    attribute_name: str = "the attribute",
    outcome: str = "accuracy",
) -> GroupLine:
    """Fit the line, with its interval, F-test and influences.

    ``accuracy`` in [0, 1], ``attribute`` and the numbers of images ``n`` are ``(groups,)``.
    ``covariance`` is a name in ``COVARIANCES``, or variances ``(groups,)`` of your own, of which
    only the ratios matter. Section 4 of Human Imperceptible Attacks has ``"paper"``. The attribute
    may have any unit: an affine change of it changes the slope's unit and nothing else. ``outcome``
    is what sentences call the share that is given as ``accuracy``.

    Raises ``ValueError`` for fewer than 3 groups, a constant attribute, numbers that are not
    finite, and accuracies outside [0, 1].

    >>> gdp = np.array([7.0, 8.0, 9.0, 10.0, 11.0])
    >>> right = np.array([0.50, 0.58, 0.59, 0.66, 0.72])
    >>> line = fit_line(right, gdp, np.array([60.0, 80, 200, 400, 900]), attribute_name="log GDP")
    >>> round(line.slope, 3), line.test.df, line.test.p_value < 0.01
    (0.055, (1.0, 3.0), True)
    >>> line.test.null
    'Across the groups, accuracy does not depend linearly on log GDP: the slope is 0.'
    """
    accuracy, attribute, n = (np.asarray(values, float) for values in (accuracy, attribute, n))
    check_groups(accuracy, attribute, n)
    design = design_of(attribute)
    name = check_covariance(covariance) if isinstance(covariance, str) else "given"
    if not isinstance(covariance, str):
        covariance = np.asarray(covariance, float)
        if covariance.shape != accuracy.shape or not (covariance > 0).all():
            raise ValueError(
                f"covariance: expected {len(accuracy)} positive variances, found {covariance}"
            )
    if name == "robust" and design.one_group_fixes_it:
        raise CannotEstimate(
            "robust: one group alone fixes the line (all others share their attribute), and its "
            "error cannot be estimated; take another covariance"
        )
    lines = fit_lines(accuracy[None], design, n, covariance)
    df = (1.0, float(len(accuracy) - 2))
    slope, p_value = float(lines.slope[0]), float(lines.p_value[0])
    if name == "between":
        limit = critical(accuracy, n, design, 1 - confidence)
    else:
        limit = float(stats.f.ppf(confidence, *df))
    reach = float(np.sqrt(limit * lines.variance[0]))
    interval = (slope - reach, slope + reach)
    may = slope_may(
        p_value, p_value, slope, interval, len(accuracy), attribute_name, confidence,
        outcome=outcome,
    )  # fmt: skip
    test = TestResult(
        name=f"F-test of the slope, covariance {_formula(name)}",
        statistic=float(lines.f[0]),
        df=df,
        p_value=p_value,
        p_adjusted=p_value,
        effect=slope,
        effect_name=f"change of {outcome} for one more of {attribute_name}",
        interval=interval,
        null=slope_null(attribute_name, outcome),
        may=may,
        may_not=slope_may_not(attribute_name, len(accuracy)),
    )
    weights, left = lines.weights[0], lines.fits.residuals[0]
    mean = float(accuracy @ weights / weights.sum())
    total = float((weights * (accuracy - mean) ** 2).sum())
    return GroupLine(
        covariance=name,
        slope=slope,
        per_sd=slope * float(np.std(attribute)),
        intercept=float(design.back[0] @ lines.fits.coefficients[0]),
        interval=interval,
        r2=1 - float(lines.fits.squares[0]) / total,
        test=test,
        cooks=_cooks(design, weights, left, lines.fits.inverse[0]),
        between=None if lines.tau is None else float(lines.tau[0]),
        band=_band(design, lines, name == "robust", limit, float(attribute.mean())),
    )


def _band(design: Design, lines: Lines, robust: bool, limit: float, middle: float) -> Band:
    """From the coefficients' covariance, that of HC3 where it is ``robust``."""
    left = lines.fits.residuals[0]
    inverse = lines.fits.inverse[0]
    groups, p = design.basis.shape
    covariance = inverse * float(lines.fits.squares[0]) / (groups - p)
    if robust:
        left = left / (1 - (design.basis**2).sum(1))
        covariance = (design.basis.T * left**2) @ design.basis
    ways = np.stack([np.array([1.0, middle]) @ design.back, design.slope])
    found = limit * ways @ covariance @ ways.T
    return Band(middle, float(found[0, 0]), float(found[0, 1]), float(found[1, 1]))


def _cooks(design: Design, weights: Array, left: Array, inverse: Array) -> Array:
    """Cook's distances (1977) of the whitened regression; infinite where a group alone fixes it."""
    groups, p = design.basis.shape
    leverage = weights * np.einsum("kp,pq,kq->k", design.basis, inverse, design.basis)
    squares = weights * left**2
    scale = p * squares.sum() / (groups - p)
    alone = 1 - leverage <= 1e-9
    others = np.where(alone, 1.0, 1 - leverage)
    distances: Array = np.where(alone, np.inf, squares / scale * leverage / others**2)
    return distances


def adjust_line(
    line: GroupLine,
    p_adjusted: float,
    tests: int,
    attribute_name: str,
    confidence: float,
    outcome: str = "accuracy",
) -> GroupLine:
    """The line as one of several ``tests``: its sentence follows the adjusted p-value.

    >>> right, gdp = np.array([0.5, 0.58, 0.59, 0.66, 0.72]), np.arange(5.0)
    >>> line = fit_line(right, gdp, np.full(5, 400.0))
    >>> adjust_line(line, 0.3, 9, "log GDP", 0.95).test.may[:12]
    'Not rejected'
    """
    may = slope_may(
        line.test.p_value, p_adjusted, line.slope, line.interval, len(line.cooks), attribute_name,
        confidence, tests, outcome,
    )  # fmt: skip
    return replace(line, test=line.test.adjusted(p_adjusted, may))


def check_groups(accuracy: Array, attribute: Array, n: Array) -> None:
    """Raise ``ValueError`` unless a line can be fitted through these groups."""
    if not accuracy.shape == attribute.shape == n.shape or accuracy.ndim != 1:
        raise ValueError(
            "accuracy, attribute and n: expected one number a group each, found shapes "
            f"{accuracy.shape}, {attribute.shape}, {n.shape}"
        )
    if len(accuracy) < FEWEST_GROUPS:
        raise ValueError(
            f"groups: expected at least {FEWEST_GROUPS} to fit a line and its error, "
            f"found {len(accuracy)}"
        )
    for name, values in (("accuracy", accuracy), ("attribute", attribute), ("n", n)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name}: expected finite numbers, found {values[~np.isfinite(values)][0]} "
                f"in group {int(np.flatnonzero(~np.isfinite(values))[0])}"
            )
    if accuracy.min() < 0 or accuracy.max() > 1:
        worst = accuracy[(accuracy < 0) | (accuracy > 1)][0]
        raise ValueError(f"accuracy: expected a share in [0, 1], found {worst:g}")
    if n.min() < 1:
        raise ValueError(f"n: expected at least one image a group, found {n.min():g}")
    if np.ptp(accuracy) == 0:
        raise ValueError(
            f"accuracy: every group has {accuracy[0]:g} exactly; without any spread there is no "
            "error to test a slope against"
        )


def _formula(name: str) -> str:
    return COVARIANCES[name].formula if name in COVARIANCES else "as given"


@dataclass(frozen=True)
class Level:
    """The share of draws without a slope in which the F-test of a covariance rejects at 0.05.

    ``alike`` is with groups that all have one true accuracy, ``differing`` with groups whose log
    odds differ with standard deviation ``spread``, whatever their attribute: what was estimated.
    """

    covariance: str
    alike: float
    differing: float
    spread: float
    draws: int


def simulated_levels(
    accuracy: Array,
    attribute: Array,
    n: Array,
    covariances: tuple[str, ...],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> list[Level]:
    """The level of each covariance's test for groups with these sizes and this attribute.

    ``accuracy``, ``attribute`` and ``n`` are ``(groups,)``: only the share of all images that are
    right and the spread of the groups about the line are taken from ``accuracy``. A covariance that
    cannot be tested with these groups (``fit_line`` refuses it) is passed over.

    >>> n, x = np.full(12, 100.0), np.arange(12.0)
    >>> (level,) = simulated_levels(np.linspace(0.7, 0.8, 12), x, n, ("binomial",), draws=500)
    >>> 0.02 < level.alike < 0.08
    True
    """
    design = design_of(attribute)
    share = float(pooled(accuracy[None], n)[0])
    tau = fit_lines(accuracy[None], design, n, "between").tau
    assert tau is not None  # of this covariance it always is
    # A small spread of accuracies is p (1 - p) times that of log odds.
    spread = float(tau[0]) / (share * (1 - share))
    usable = [name for name in covariances if name != "robust" or not design.one_group_fixes_it]
    found: dict[str, list[float]] = {name: [] for name in usable}
    for sd in (0.0, spread):
        drawn = draw_accuracies(np.random.default_rng(seed), share, sd, n, draws)
        varied = drawn[np.ptp(drawn, axis=1) > 0]  # without any spread nothing is tested
        for name in usable:
            p_values = fit_lines(varied, design, n, name).p_value
            found[name].append(float((p_values < LEVEL).sum()) / draws)
    return [
        Level(name, alike, differing, spread, draws) for name, (alike, differing) in found.items()
    ]


def draw_accuracies(
    rng: np.random.Generator, share: float, spread: float, n: Array, draws: int
) -> Array:
    """Accuracies ``(draws, groups)`` of groups whose log odds have mean that of ``share``."""
    odds = np.log(share / (1 - share)) + spread * rng.normal(size=(draws, len(n)))
    accuracies: Array = rng.binomial(n.astype(int), 1 / (1 + np.exp(-odds))) / n
    return accuracies
