"""Generalised least squares of the groups' accuracies on an attribute of the groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import brentq  # type: ignore[import-untyped]  # it ships no types
from statsmodels.stats.outliers_influence import (  # type: ignore[import-untyped]  # as above
    OLSInfluence,
)

from percert.fairness.covariance import (
    COVARIANCES,
    Array,
    binomial_variances,
    check_covariance,
    paper_variances,
)
from percert.fairness.result import TestResult
from percert.fairness.words import slope_may, slope_may_not, slope_null

#: With fewer, two parameters leave no error to estimate.
FEWEST_GROUPS = 3


@dataclass(frozen=True)
class GroupLine:
    """The line ``accuracy = intercept + slope * attribute`` through the groups.

    ``interval`` is the slope's, ``test`` the F-test of its being 0. ``cooks`` ``(groups,)`` are
    Cook's distances: how far both coefficients move, in units of their uncertainty, without that
    group. ``r2`` is the weighted share of variance that the line explains. ``between`` is the
    estimated spread tau of the groups about the line, where the covariance has one.
    """

    covariance: str
    slope: float
    intercept: float
    interval: tuple[float, float]
    r2: float
    test: TestResult
    cooks: Array
    between: float | None


def fit_line(
    accuracy: Array,
    attribute: Array,
    n: Array,
    *,
    covariance: str | Array = "paper",
    confidence: float = 0.95,
    attribute_name: str = "the attribute",
) -> GroupLine:
    """Fit the line, with its interval, F-test and influences; all of it by statsmodels.

    ``accuracy`` in [0, 1], ``attribute`` and the numbers of images ``n`` are ``(groups,)``.
    ``covariance`` is a name in ``COVARIANCES``, or variances ``(groups,)`` of your own, of which
    only the ratios matter. Section 4 of Human Imperceptible Attacks.

    Raises ``ValueError`` for fewer than 3 groups, a constant attribute, numbers that are not
    finite, and accuracies outside [0, 1].

    >>> gdp = np.array([7.0, 8.0, 9.0, 10.0, 11.0])
    >>> right = np.array([0.50, 0.58, 0.59, 0.66, 0.72])
    >>> line = fit_line(right, gdp, np.array([60.0, 80, 200, 400, 900]), attribute_name="log GDP")
    >>> round(line.slope, 3), line.test.df, line.test.p_value < 0.01
    (0.053, (1.0, 3.0), True)
    >>> line.test.null
    'Across the groups, accuracy does not depend linearly on log GDP: the slope is 0.'
    """
    check_groups(accuracy, attribute, n)
    design = sm.add_constant(np.asarray(attribute, float))
    name = check_covariance(covariance) if isinstance(covariance, str) else "given"
    between = None
    if isinstance(covariance, str):
        variances, between = _variances(name, accuracy, design, n)
    else:
        variances = np.asarray(covariance, float)
        if variances.shape != accuracy.shape or not (variances > 0).all():
            raise ValueError(
                f"covariance: expected {len(accuracy)} positive variances, found {variances}"
            )
    model = sm.GLS(np.asarray(accuracy, float), design, sigma=variances)
    whitened = OLSInfluence(sm.OLS(model.wendog, model.wexog).fit())
    if name == "robust" and whitened.hat_matrix_diag.max() > 1 - 1e-9:
        raise ValueError(
            "robust: one group alone fixes the line (all others share their attribute), and its "
            "error cannot be estimated; take another covariance"
        )
    fit = model.fit(cov_type="HC3", use_t=True) if name == "robust" else model.fit()
    intercept, slope = (float(value) for value in fit.params)
    lower, upper = (float(value) for value in fit.conf_int(1 - confidence)[1])
    f_test = fit.f_test(np.array([[0.0, 1.0]]))
    test = TestResult(
        name=f"F-test of the slope, covariance {_formula(name)}",
        statistic=float(f_test.fvalue),
        df=(float(f_test.df_num), float(f_test.df_denom)),
        p_value=float(f_test.pvalue),
        effect=slope,
        effect_name=f"change of accuracy for one more of {attribute_name}",
        interval=(lower, upper),
        null=slope_null(attribute_name),
        may=slope_may(
            float(f_test.pvalue), slope, (lower, upper), len(accuracy), attribute_name, confidence
        ),
        may_not=slope_may_not(attribute_name, len(accuracy)),
    )
    cooks: Array = np.asarray(whitened.cooks_distance[0], float)
    return GroupLine(
        covariance=name,
        slope=slope,
        intercept=intercept,
        interval=(lower, upper),
        r2=float(fit.rsquared),
        test=test,
        cooks=cooks,
        between=between,
    )


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
    if np.ptp(attribute) == 0:
        raise ValueError(
            f"attribute: every group has {attribute[0]:g}; a constant attribute has no slope"
        )
    if np.ptp(accuracy) == 0:
        raise ValueError(
            f"accuracy: every group has {accuracy[0]:g} exactly; without any spread there is no "
            "error to test a slope against"
        )


def _variances(name: str, accuracy: Array, design: Array, n: Array) -> tuple[Array, float | None]:
    if name == "paper":
        return paper_variances(n), None
    if name == "binomial":
        return binomial_variances(accuracy, n), None
    if name == "between":
        draw = binomial_variances(accuracy, n)
        spread = _between_variance(accuracy, design, draw)
        return draw + spread, float(np.sqrt(spread))
    return np.ones_like(accuracy, dtype=float), None


def _between_variance(accuracy: Array, design: Array, draw: Array) -> float:
    """tau^2 such that the weighted residuals have the size that their variances promise.

    The estimate of Paule and Mandel (1982) for a regression; 0 where the luck of the draw explains
    the spread alone. The test then takes its scale from the residuals (Knapp and Hartung, 2003).
    """

    def excess(spread: float) -> float:
        return float(sm.GLS(accuracy, design, sigma=draw + spread).fit().scale) - 1

    if excess(0.0) <= 0:
        return 0.0
    upper = float(np.var(accuracy)) + 1e-12
    while excess(upper) > 0:
        upper *= 2
    return float(brentq(excess, 0.0, upper, xtol=1e-10 * upper))


def _formula(name: str) -> str:
    return COVARIANCES[name].formula if name in COVARIANCES else "as given"


def as_row(line: GroupLine, model: str) -> dict[str, Any]:
    """The line as one row of the audit's JSON."""
    return {
        "model": model,
        "slope": line.slope,
        "intercept": line.intercept,
        "interval": list(line.interval),
        "f": line.test.statistic,
        "df": list(line.test.df),
        "p_value": line.test.p_value,
        "null": line.test.null,
        "covariance": line.covariance,
    }
