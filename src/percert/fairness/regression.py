"""Weighted least squares of many draws at once: the arithmetic below lines and simulations."""

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
    p = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), p * p)
    inverse: Array = np.linalg.inv((weights @ products).reshape(-1, p, p)).astype(float, copy=False)
    coefficients: Array = np.einsum("dpq,dq->dp", inverse, (weights * values) @ basis)
    residuals: Array = values - coefficients @ basis.T
    return Fits(coefficients, inverse, residuals, (weights * residuals**2).sum(1))


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
