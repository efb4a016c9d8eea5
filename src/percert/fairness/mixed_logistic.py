"""Mixed-effects logistic regression of right and wrong answers by group, by maximum likelihood.

The images of group i are right with log odds ``b0 + b1 x_i + sd u_i``, u_i standard normal: the
model of counts as they are, where the line takes shares as numbers with an error. Each group's
likelihood is an integral over u_i, taken by adaptive Gauss-Hermite quadrature (Pinheiro and Bates
1995): nodes about the mode of the integrand, as wide as its curvature there. lme4's ``glmer`` is
the same with one node (Laplace).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import minimize  # type: ignore[import-untyped]  # it ships no types
from scipy.special import expit, log_expit, logsumexp  # type: ignore[import-untyped]  # no types

from percert.fairness.conclusions import (
    TestResult,
    interval_column,
    slope_may,
    slope_may_not,
    slope_null,
    statistic_columns,
)
from percert.fairness.least_squares import Array, design_of
from percert.fairness.regression import CannotEstimate, check_groups
from percert.reports.table import Column, Table

NODES = 25
_ROOTS, _WEIGHTS = np.polynomial.hermite.hermgauss(NODES)
_LOG_WEIGHTS = np.log(_WEIGHTS) + _ROOTS**2
#: Steps to the mode of a group's integrand, at most.
_STEPS = 50
#: Log odds for one standard deviation of the attribute, beyond which shares are only 0 and 1.
_STEEPEST = 15.0


@dataclass(frozen=True)
class MixedLogistic:
    """The fit for one model and attribute.

    ``slope`` is the change of log odds for one more of the attribute, ``odds_ratio`` what the odds
    are multiplied with for one standard deviation of it among the groups. ``spread`` is the
    standard deviation of the groups' own log odds. ``log_likelihood`` leaves out the binomial
    coefficients.
    """

    model: str
    attribute: str
    slope: float
    standard_error: float
    interval: tuple[float, float]
    odds_ratio: float
    intercept: float
    spread: float
    log_likelihood: float
    test: TestResult

    def adjusted(
        self, p_adjusted: float, tests: int, confidence: float, outcome: str
    ) -> "MixedLogistic":
        """The same as one of several ``tests``: its sentence follows the adjusted p-value."""
        may = slope_may(
            self.test.p_value, p_adjusted, self.slope, self.interval, int(self.test.df[0]) + 2,
            self.attribute, confidence, tests, logit_of(outcome),
        )  # fmt: skip
        return replace(self, test=self.test.adjusted(p_adjusted, may))


def fit_mixed(
    share: Array,
    attribute: Array,
    n: Array,
    *,
    model: str = "the model",
    attribute_name: str = "the attribute",
    outcome: str = "accuracy",
    confidence: float = 0.95,
) -> MixedLogistic:
    """Fit the log odds of ``share`` ``(groups,)`` of ``n`` images on ``attribute``.

    The slope is tested by t with groups - 2 degrees of freedom: the groups are what it is known
    from. Its error is that of the observed information, times sqrt(groups / (groups - 2)), since
    maximum likelihood divides the spread's squares by all groups. With 6 to 25 groups the normal
    distribution and the plain error, as lme4 prints them, reject in 8 to 20 % where 5 are meant;
    this in 4 to 7 %. ``standard_error`` is the plain one. Raises ``ValueError`` as ``fit_line``
    does, and ``CannotEstimate`` where the attribute parts right from wrong so that the slope has no
    bound.

    >>> x, n = np.arange(8.0), np.full(8, 200.0)
    >>> share = np.array([0.61, 0.66, 0.7, 0.69, 0.78, 0.8, 0.8, 0.87])
    >>> found = fit_mixed(share, x, n)
    >>> round(found.slope, 3), round(found.spread, 3), found.test.p_value < 1e-3
    (0.185, 0.0, True)
    """
    share, attribute, n = (np.asarray(values, float) for values in (share, attribute, n))
    check_groups(share, attribute, n)
    design_of(attribute)  # refuses a constant one
    sd = float(np.std(attribute))
    basis = np.stack([np.ones(len(n)), (attribute - attribute.mean()) / sd], 1)
    right = np.round(share * n)
    found = _best(right, n, basis)
    information = _information(found, right, n, basis)
    positive = bool(np.linalg.eigvalsh(information)[0] > 1e-8 * np.abs(information).max())
    if not positive or abs(found[1]) > _STEEPEST:
        raise CannotEstimate(
            "mixed-effects logistic regression: the slope has no bound, as groups with low and "
            f"with high {attribute_name} are all right or all wrong"
        )
    per_sd, error = float(found[1]), float(np.sqrt(np.linalg.inv(information)[1, 1]))
    df = len(n) - 2
    used = error * (len(n) / df) ** 0.5
    t = per_sd / used
    p_value = float(2 * stats.t.sf(abs(t), df))
    reach = float(stats.t.isf((1 - confidence) / 2, df)) * used
    slope, interval = per_sd / sd, ((per_sd - reach) / sd, (per_sd + reach) / sd)
    said = logit_of(outcome)
    may = slope_may(
        p_value, p_value, slope, interval, len(n), attribute_name, confidence, outcome=said
    )
    test = TestResult(
        name="t-test of the slope, mixed-effects logistic regression",
        statistic=t,
        df=(float(df),),
        p_value=p_value,
        p_adjusted=p_value,
        effect=slope,
        effect_name=f"change of log odds for one more of {attribute_name}",
        interval=interval,
        null=slope_null(attribute_name, said),
        may=may,
        may_not=slope_may_not(attribute_name, len(n)),
    )
    value, _ = _log_likelihood(found, right, n, basis)
    return MixedLogistic(
        model=model,
        attribute=attribute_name,
        slope=slope,
        standard_error=error / sd,
        interval=interval,
        odds_ratio=float(np.exp(per_sd)),
        intercept=float(found[0] - per_sd * attribute.mean() / sd),
        spread=abs(float(found[2])),
        log_likelihood=value,
        test=test,
    )


def logit_of(outcome: str) -> str:
    """What sentences call the outcome of this model."""
    return f"the logit of {outcome.removeprefix('the ')}"


def _best(right: Array, n: Array, basis: Array) -> Array:
    """The intercept, slope and spread of the greatest likelihood."""
    odds = np.log((right + 0.5) / (n - right + 0.5))
    start, *_ = np.linalg.lstsq(basis, odds, rcond=None)
    spread = max(float(np.std(odds - basis @ start)), 0.05)

    def unlikely(values: Array) -> tuple[float, Array]:
        value, slope = _log_likelihood(values, right, n, basis)
        return -value / len(n), -slope / len(n)

    found = minimize(
        unlikely, np.array([*start, spread]), jac=True, method="BFGS", options={"gtol": 1e-7}
    )
    best: Array = found.x
    return best


def _information(values: Array, right: Array, n: Array, basis: Array) -> Array:
    """Minus the second derivatives of the log likelihood, by differences of the first."""
    rows = []
    for place in range(len(values)):
        step = np.zeros(len(values))
        step[place] = 1e-4
        _, above = _log_likelihood(values + step, right, n, basis)
        _, below = _log_likelihood(values - step, right, n, basis)
        rows.append((below - above) / 2e-4)
    matrix = np.stack(rows)
    symmetric: Array = (matrix + matrix.T) / 2
    return symmetric


def _log_likelihood(values: Array, right: Array, n: Array, basis: Array) -> tuple[float, Array]:
    """Of the intercept, slope and spread ``values``, with its derivatives.

    These are the means, under each group's distribution of u given its images, of the derivatives
    at fixed u (Fisher's identity).
    """
    fixed, sd = basis @ values[:2], float(values[2])
    mode = _modes(fixed, sd, right, n)
    p = expit(fixed + sd * mode)
    width = np.sqrt(2 / (1 + sd**2 * n * p * (1 - p)))
    u = mode[:, None] + width[:, None] * _ROOTS
    odds = fixed[:, None] + sd * u
    joint = right[:, None] * log_expit(odds) + (n - right)[:, None] * log_expit(-odds) - u**2 / 2
    terms = joint + _LOG_WEIGHTS
    total = logsumexp(terms, axis=1)
    weights = np.exp(terms - total[:, None])
    left = right[:, None] - n[:, None] * expit(odds)
    slopes = basis.T @ (weights * left).sum(1)
    value = float((total + np.log(width) - np.log(2 * np.pi) / 2).sum())
    return value, np.array([*slopes, float((weights * left * u).sum())])


def _modes(fixed: Array, sd: float, right: Array, n: Array) -> Array:
    """The u of each group at which its integrand is largest: Newton's steps, of at most 1."""
    mode = np.zeros(len(n))
    for _ in range(_STEPS):
        p = expit(fixed + sd * mode)
        step = (sd * (right - n * p) - mode) / (1 + sd**2 * n * p * (1 - p))
        mode = mode + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return mode


def mixed_table(fits: Sequence[MixedLogistic], confidence: float, *, short: bool = False) -> Table:
    """The mixed-effects logistic regression of every model given."""
    columns: list[Column[MixedLogistic]] = [
        Column("model", lambda fit: fit.model),
        Column("slope of log odds", lambda fit: fit.slope, "+.4g"),
        interval_column(confidence, lambda fit: fit.interval, "+.4g"),
        Column(
            "odds ratio a standard deviation",
            lambda fit: fit.odds_ratio,
            ".4g",
            short="odds ratio a sd",
        ),
        *statistic_columns("t", lambda fit: replace(fit.test, df=fit.test.df[:1])),
        Column("spread of groups", lambda fit: fit.spread, ".4f"),
    ]
    return Table.of(
        fits,
        columns,
        "Mixed-effects logistic regression of the images by group, by maximum likelihood: the "
        "model of 0 and 1 as they are, beside the line. The spread is the standard deviation of "
        "the groups' own log odds.",
        short=short,
    )
