"""Weighted least squares of many draws at once, and the covariances that weigh the groups.

The groups are independent, so each choice of covariance is a diagonal: one variance a group, up to
a common factor that the regression estimates from the residuals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Below this share of an attribute's largest value, differences between groups are float noise.
CONSTANT = 1e-12


@dataclass(frozen=True)
class Design:
    """The columns of a regression, centred, scaled and made orthonormal.

    ``basis`` ``(groups, p)`` spans the intercept and the given columns; ``back`` ``(p, p)`` turns
    coefficients of the basis into those of ``[1, columns]``, intercept first. A pseudo-inverse of
    the raw columns would drop the intercept or the slope where a unit is very large or small (times
    in milliseconds, money in dollars); these columns have no unit.
    """

    basis: Array
    back: Array

    @property
    def slope(self) -> Array:
        """The row of ``back`` that gives the coefficient of the last column."""
        last: Array = self.back[-1]
        return last

    @property
    def one_group_fixes_it(self) -> bool:
        """Whether one group alone determines a coefficient: its error cannot be estimated then."""
        return bool((self.basis**2).sum(1).max() > 1 - 1e-9)


def design_of(*columns: Array, names: tuple[str, ...] = ("attribute",)) -> Design:
    """The design ``[1, columns]``; each column is ``(groups,)``, and named for the messages.

    Raises ``ValueError`` for a column that is constant, or that the others already determine.

    >>> design_of(1.6e12 + np.array([0.0, 1e3, 4e3])).basis.shape
    (3, 2)
    >>> design_of(np.array([0.3, 0.1 + 0.2, 0.3]))
    Traceback (most recent call last):
    ...
    ValueError: attribute: every group has 0.3; a constant attribute has no slope
    """
    groups = len(columns[0])
    means, spreads, scaled = [], [], [np.ones(groups)]
    for column, name in zip(columns, names, strict=True):
        values = np.asarray(column, float)
        # Of values near the ends of float range, a sum or a square would overflow.
        unit = float(np.abs(values).max()) or 1.0
        if float(np.ptp(values / unit)) <= CONSTANT:
            raise ValueError(
                f"{name}: every group has {values[0]:g}; a constant attribute has no slope"
            )
        mean = float((values / unit).mean()) * unit
        spread = float(np.std((values - mean) / unit)) * unit
        means.append(mean)
        spreads.append(spread)
        scaled.append((values - mean) / spread)
    basis, triangle = np.linalg.qr(np.stack(scaled, 1))
    size = np.abs(np.diag(triangle)) / np.sqrt(groups)
    if groups < basis.shape[1] or size.min() < 1e-8:
        place = int(size.argmin()) if groups >= basis.shape[1] else basis.shape[1] - 1
        raise ValueError(
            f"{names[max(place - 1, 0)]}: the other columns determine it, so that its slope cannot "
            "be told from theirs"
        )
    unscale = np.eye(len(scaled))
    for place, (mean, spread) in enumerate(zip(means, spreads, strict=True), 1):
        unscale[place, place] = 1 / spread
        unscale[0, place] = -mean / spread
    return Design(basis, unscale @ np.linalg.inv(triangle))


@dataclass(frozen=True)
class Fits:
    """Weighted least squares of a batch of draws.

    ``coefficients`` ``(draws, p)`` are of the basis, ``inverse`` ``(draws, p, p)`` is that of
    X' W X, ``residuals`` are ``(draws, groups)`` and ``squares`` ``(draws,)`` their weighted sums
    of squares.
    """

    coefficients: Array
    inverse: Array
    residuals: Array
    squares: Array

    def along(self, direction: Array) -> tuple[Array, Array]:
        """The combination ``direction`` of the coefficients, and its variance at scale 1."""
        variance: Array = np.einsum("p,dpq,q->d", direction, self.inverse, direction)
        return self.coefficients @ direction, variance


def weighted_fit(values: Array, basis: Array, weights: Array) -> Fits:
    """Fit every row of ``values`` ``(draws, groups)`` with ``weights`` of the same shape.

    >>> basis = design_of(np.array([0.0, 1.0, 2.0])).basis
    >>> fit = weighted_fit(np.array([[1.0, 3.0, 5.0]]), basis, np.ones((1, 3)))
    >>> bool(fit.squares[0] < 1e-25)
    True
    """
    inverse: Array = np.linalg.inv(_products(basis, weights)).astype(float, copy=False)
    coefficients: Array = np.einsum("dpq,dq->dp", inverse, (weights * values) @ basis)
    residuals: Array = values - coefficients @ basis.T
    return Fits(coefficients, inverse, residuals, (weights * residuals**2).sum(1))


def weighted_residuals(values: Array, basis: Array, weights: Array) -> Array:
    """The residuals of :func:`weighted_fit` alone, which takes half the time for many columns."""
    right = ((weights * values) @ basis)[:, :, None]
    residuals: Array = values - np.linalg.solve(_products(basis, weights), right)[:, :, 0] @ basis.T
    return residuals


def _products(basis: Array, weights: Array) -> Array:
    """X' W X of every row of ``weights``, ``(draws, p, p)``."""
    p = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), p * p)
    found: Array = (weights @ products).reshape(-1, p, p)
    return found


@dataclass(frozen=True)
class Lines:
    """The last coefficient of many draws of the same groups, and its F-test against 0.

    ``slope``, ``variance`` (scale included), ``f`` and ``p_value`` are ``(draws,)``, ``weights``
    ``(draws, groups)``, ``tau`` ``(draws,)`` is the spread of the groups where it was estimated.
    """

    fits: Fits
    weights: Array
    slope: Array
    variance: Array
    f: Array
    p_value: Array
    tau: Array | None = None


def f_statistic(slope: Array, variance: Array) -> Array:
    """``slope^2 / variance``: infinite where a slope has no error, 0 where there is neither."""
    with np.errstate(divide="ignore", invalid="ignore"):
        f: Array = np.where(variance > 0, slope**2 / variance, np.where(slope == 0, 0.0, np.inf))
    return f


def block_f(fits: Fits, block: int, freedom: int) -> Array:
    """F of the last ``block`` columns' coefficients all being 0, ``(draws,)``.

    These are the last of the basis, which hold nothing of the columns before them.
    """
    last = fits.coefficients[:, -block:]
    scale = block * fits.squares / freedom
    explained = np.einsum(
        "dp,dpq,dq->d", last, np.linalg.inv(fits.inverse[:, -block:, -block:]), last
    )
    return f_statistic(np.sqrt(explained), scale)


@dataclass(frozen=True)
class Covariance:
    """One choice: ``formula`` in words, ``assumes`` what must hold, ``caution`` where it does not.

    How often each rejects where there is no slope depends on the groups: every audit simulates it
    on its own (``percert.fairness.regression``), ``docs/results/audit-level.md`` on a grid.
    """

    name: str
    formula: str
    assumes: str
    caution: str


COVARIANCES = {
    entry.name: entry
    for entry in (
        Covariance(
            "between",
            "diag(tau^2 + p (1 - p) / n), p the share of all images",
            "groups differ from the line by a spread tau of their own and the luck of the draw",
            "holds its level by simulation of these very groups: trust it over the others",
        ),
        Covariance(
            "paper",
            "diag(1 / sqrt(n))",
            "the variance of a group's accuracy falls with the square root of its images",
            "gives large groups too little weight where only the luck of the draw is at work, and "
            "too much where groups differ of their own",
        ),
        Covariance(
            "binomial",
            "diag(p (1 - p) / n), p the share of all images",
            "groups differ from the line by the luck of the draw of their images alone",
            "cries wolf where groups differ of their own, as they usually do",
        ),
        Covariance(
            "equal",
            "the identity: ordinary least squares",
            "every group's accuracy is equally uncertain",
            "sees less where sizes differ: a group of 50 images counts as much as one of 2,000",
        ),
        Covariance(
            "robust",
            "the identity, with heteroskedasticity-robust (HC3) errors",
            "nothing about the variances, but many groups",
            "sees less where sizes differ; not for a handful of groups",
        ),
    )
}

#: What the audit shows unless told otherwise. The first decides: the one that holds its level.
DEFAULT = ("between", "paper", "binomial", "robust")


def check_covariance(name: str) -> str:
    """Return ``name`` if it is one of ``COVARIANCES``, else raise ``ValueError``."""
    if name not in COVARIANCES:
        raise ValueError(
            f"covariance: expected one of {', '.join(COVARIANCES)}, or variances, found {name!r}"
        )
    return name


def paper_variances(n: Array) -> Array:
    """``1 / sqrt(n)``, section 4 of Human Imperceptible Attacks.

    >>> paper_variances(np.array([4.0, 100.0]))
    array([0.5, 0.1])
    """
    variances: Array = 1 / np.sqrt(n)
    return variances


def binomial_variances(accuracy: Array, n: Array) -> Array:
    """``p (1 - p) / n`` with the share p of all images: how much the share of n images varies.

    Not each group's own share: a group that happens to be all right would then seem the most
    certain of all, and where sizes go with the attribute that alone makes a slope.

    >>> binomial_variances(np.array([0.5, 1.0]), np.array([100.0, 100.0])).round(6)
    array([0.001875, 0.001875])
    """
    share = pooled(accuracy[None], n)
    variances: Array = share * (1 - share) / n
    return variances


def pooled(accuracy: Array, n: Array) -> Array:
    """The share of all images that are right, a number for each row of ``(draws, groups)``.

    It is kept away from 0 and 1 by half an image, where its variance would be 0.
    """
    total = float(n.sum())
    share: Array = np.clip(accuracy @ n / total, 0.5 / total, 1 - 0.5 / total)
    return share
