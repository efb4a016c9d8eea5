"""Several attributes and covariates of groups at once: what of each is left beside the others.

Attributes of groups go together: where it is rich it is also bright, or photographed more. One by
one each takes credit for the others; in one regression each is compared at equal values of the
rest. An attribute may be a number or a category, such as a continent, whose test is whether any two
categories differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import TestResult
from percert.fairness.joint_words import joint_may, joint_may_not, joint_null
from percert.fairness.least_squares import (
    Array,
    Design,
    Fits,
    block_f,
    design_of,
    f_statistic,
    pooled,
    weighted_fit,
)
from percert.fairness.random_effects import block_between, critical
from percert.fairness.regression import CannotEstimate, fit_lines

#: Values of a column: numbers, or text for categories; ``(groups,)``.
Values = Array | npt.NDArray[np.str_]


@dataclass(frozen=True)
class Category:
    """One category: ``mean`` is its groups' share where the other columns have their means."""

    name: str
    groups: int
    images: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Term:
    """One column of the joint regression.

    ``slope``, ``per_sd`` and ``interval`` are ``None`` for categories, whose means are in
    ``categories``. ``alone`` is the p-value without the other columns. ``inflation`` is the factor
    by which the others widen the variance of its coefficients (the generalised one of Fox and
    Monette, 1992, to the power 1 / df). ``tested`` is false for covariates: no conclusion is drawn
    of them.
    """

    name: str
    tested: bool
    slope: float | None
    per_sd: float | None
    interval: tuple[float, float] | None
    categories: tuple[Category, ...]
    alone: float
    inflation: float
    test: TestResult


@dataclass(frozen=True)
class JointLine:
    """All columns in one regression of one model's shares.

    ``strata`` are what shares were adjusted for before, if anything. ``between`` is the spread of
    the groups about the fit, ``beyond`` the chi-square test (statistic, df, p-value) that groups
    differ beyond the columns and the luck of the draw: of race and age it is that of their
    interaction.
    """

    model: str
    covariance: str
    groups: int
    terms: tuple[Term, ...]
    strata: tuple[str, ...]
    r2: float
    between: float | None
    beyond: tuple[float, int, float]

    def adjusted(self, p_values: Mapping[str, float], outcome: str) -> "JointLine":
        """The same with the adjusted p-values of its tested terms, which then decide."""
        terms = []
        for term in self.terms:
            if term.name in p_values:
                p_value = p_values[term.name]
                may = joint_may(
                    term, p_value, self.groups, self.others(term), outcome, len(p_values)
                )
                term = replace(term, test=term.test.adjusted(p_value, may))
            terms.append(term)
        return replace(self, terms=tuple(terms))

    def others(self, term: Term) -> list[str]:
        """What is held fixed beside ``term``, in words."""
        held = [entry.name for entry in self.terms if entry.name != term.name]
        return held + [f"the mix of {name}" for name in self.strata]


def fit_joint(
    share: Array,
    n: Array,
    columns: Mapping[str, Values],
    *,
    covariates: Sequence[str] = (),
    covariance: str = "between",
    model: str = "the model",
    outcome: str = "accuracy",
    confidence: float = 0.95,
    strata: tuple[str, ...] = (),
    draws: int = 2000,
    seed: int = 0,
) -> JointLine:
    """Regress the groups' shares on all ``columns``; ``share`` and ``n`` are ``(groups,)``.

    Errors and p-values are those of :func:`~percert.fairness.fit_line`. Raises
    :class:`CannotEstimate` where the groups are too few, or a column says what others say.

    >>> gdp, south = np.arange(12.0), np.array(["north", "south"] * 6)
    >>> found = fit_joint(0.5 + 0.03 * gdp, np.full(12, 400.0), {"log GDP": gdp, "half": south})
    >>> [(term.name, term.test.significant) for term in found.terms]
    [('log GDP', True), ('half', False)]
    """
    coded = {name: _coded(values, name) for name, values in columns.items()}
    parameters = 1 + sum(entry.shape[1] for entry in coded.values())
    if len(n) <= parameters:
        raise CannotEstimate(
            f"all columns together: {parameters} coefficients and {len(n)} groups leave no error "
            "to test with; take fewer columns"
        )
    names = list(columns)
    terms = []
    for name in names:
        design = _design(coded, [entry for entry in names if entry != name] + [name])
        block = coded[name].shape[1]
        f, p_value = _test(share, n, design, block, covariance)
        alone = float(_test(share, n, _design(coded, [name]), block, covariance)[1])
        term = _term(
            name, columns[name], share, n, design, block, covariance, confidence, f, p_value
        )
        held = [entry for entry in names if entry != name] + [f"the mix of {s}" for s in strata]
        term = replace(
            term,
            tested=name not in covariates,
            alone=alone,
            inflation=_inflation(coded, name),
            test=replace(term.test, null=joint_null(name, held, outcome, block > 1)),
        )
        may = joint_may(term, p_value, len(n), held, outcome)
        terms.append(replace(term, test=replace(term.test, may=may, may_not=joint_may_not(held))))
    fits, weights, tau = _fitted(share, n, design, covariance)
    mean = float(share @ weights / weights.sum())
    total = float((weights * (share - mean) ** 2).sum())
    return JointLine(
        model=model,
        covariance=covariance,
        groups=len(n),
        terms=tuple(terms),
        strata=strata,
        r2=1 - float(fits.squares[0]) / total if total > 0 else 0.0,
        between=tau,
        beyond=_beyond(share, n, design, draws, seed),
    )


def _coded(values: Values, name: str) -> Array:
    """Numbers as one column; categories as one column each but the first in order."""
    if values.dtype.kind in "fiub":
        numbers: Array = values.astype(float)[:, None]
        return numbers
    levels = np.unique(values.astype(str))
    if len(levels) < 2:
        raise CannotEstimate(f"{name}: every group has {levels[0]}; one category has no difference")
    marks: Array = (values.astype(str)[:, None] == levels[None, 1:]).astype(float)
    return marks


def _design(coded: Mapping[str, Array], order: Sequence[str]) -> Design:
    columns = [column for name in order for column in coded[name].T]
    names = tuple(name for name in order for _ in coded[name].T)
    try:
        return design_of(*columns, names=names)
    except ValueError as error:
        raise CannotEstimate(str(error)) from None


def _fitted(
    share: Array, n: Array, design: Design, covariance: str
) -> tuple[Fits, Array, float | None]:
    lines = fit_lines(share[None], design, n, covariance)
    return lines.fits, lines.weights[0], None if lines.tau is None else float(lines.tau[0])


def _test(
    share: Array, n: Array, design: Design, block: int, covariance: str
) -> tuple[float, float]:
    """F and p-value of the last ``block`` columns."""
    if covariance == "between":
        f, p_value = block_between(share[None], n, design, block)
        return float(f[0]), float(p_value[0])
    freedom = design.basis.shape[0] - design.basis.shape[1]
    if block == 1:
        lines = fit_lines(share[None], design, n, covariance)
        return float(lines.f[0]), float(lines.p_value[0])
    fits, _, _ = _fitted(share, n, design, covariance)
    f = block_f(fits, block, freedom)
    if covariance == "robust":
        left = fits.residuals[0] / (1 - (design.basis**2).sum(1))
        meat = (design.basis.T * left**2) @ design.basis
        last = fits.coefficients[0, -block:]
        explained = last @ np.linalg.solve(meat[-block:, -block:], last)
        f = f_statistic(np.sqrt(np.array([explained])), np.array([float(block)]))
    return float(f[0]), float(stats.f.sf(f[0], block, freedom))


def _term(
    name: str, values: Values, share: Array, n: Array, design: Design, block: int, covariance: str,
    confidence: float, f: float, p_value: float,
) -> Term:  # fmt: skip
    freedom = design.basis.shape[0] - design.basis.shape[1]
    lines = fit_lines(share[None], design, n, covariance)
    test = TestResult(
        name=f"F-test of {name} beside the others, covariance {covariance}",
        statistic=f,
        df=(float(block), float(freedom)),
        p_value=p_value,
        p_adjusted=p_value,
        effect=0.0,
        effect_name="",
        interval=None,
        null="",
        may="",
        may_not="",
    )
    number = np.asarray(values).dtype.kind in "fiub"
    if number:
        slope = float(lines.slope[0])
        limit = float(stats.f.isf(1 - confidence, 1, freedom))
        if covariance == "between":
            limit = critical(share, n, design, 1 - confidence)
        reach = float(np.sqrt(limit * lines.variance[0]))
        interval = (slope - reach, slope + reach)
        per_sd = slope * float(np.std(np.asarray(values, float)))
        test = replace(
            test, effect=slope, effect_name=f"change for one more of {name}", interval=interval
        )
        return Term(name, True, slope, per_sd, interval, (), p_value, 1.0, test)
    found = _categories(np.asarray(values).astype(str), n, design, lines.fits, block, confidence)
    spread = max(entry.mean for entry in found) - min(entry.mean for entry in found)
    test = replace(test, effect=spread, effect_name=f"highest less lowest mean by {name}")
    return Term(name, True, None, None, None, found, p_value, 1.0, test)


def _categories(
    values: npt.NDArray[np.str_], n: Array, design: Design, fits: Fits, block: int,
    confidence: float,
) -> tuple[Category, ...]:  # fmt: skip
    """Of each category the mean share at the other columns' means, with its interval."""
    levels = np.unique(values)
    freedom = design.basis.shape[0] - design.basis.shape[1]
    scale = float(fits.squares[0]) / freedom
    # A point of the basis for given columns: [1, columns] = basis @ inverse of back.
    columns = design.basis @ np.linalg.inv(design.back)
    reach = float(stats.t.isf((1 - confidence) / 2, freedom))
    found = []
    for place, level in enumerate(levels):
        point = columns.mean(0)
        point[-block:] = np.arange(1, block + 1) == place
        along = point @ design.back
        mean, variance = fits.along(along)
        error = reach * float(np.sqrt(variance[0] * scale))
        inside = values == level
        middle, images = float(mean[0]), round(float(n[inside].sum()))
        ends = (middle - error, middle + error)
        found.append(Category(str(level), int(inside.sum()), images, middle, ends))
    return tuple(found)


def _inflation(coded: Mapping[str, Array], name: str) -> float:
    """The generalised variance inflation of a column: 1 where the others say nothing of it."""
    own = coded[name]
    others = [entry for other, entry in coded.items() if other != name]
    if not others:
        return 1.0
    rest = np.concatenate(others, axis=1)

    def determinant(values: Array) -> float:
        return float(np.linalg.slogdet(np.atleast_2d(np.corrcoef(values, rowvar=False)))[1])

    log = determinant(own) + determinant(rest) - determinant(np.concatenate([own, rest], axis=1))
    return float(np.exp(log / own.shape[1]))


def _beyond(
    share: Array, n: Array, design: Design, draws: int, seed: int
) -> tuple[float, int, float]:
    """Whether groups differ beyond the columns: weighted squares at no spread of their own."""
    freedom = int(design.basis.shape[0] - design.basis.shape[1])
    pool = float(pooled(share[None], n)[0])
    unit = pool * (1 - pool)
    fit = weighted_fit(share[None], design.basis, (n / unit)[None])
    statistic = float(fit.squares[0])
    p_value = float(stats.chi2.sf(statistic, freedom))
    if draws and float(n.min()) * min(pool, 1 - pool) < 5:  # counts too small for chi-square
        fitted = np.clip(share - fit.residuals[0], 0.5 / n.sum(), 1 - 0.5 / n.sum())
        whole = np.maximum(np.round(n), 1).astype(int)
        drawn = np.random.default_rng(seed).binomial(whole, fitted, (draws, len(n))) / whole
        units = pooled(drawn, n)[:, None]
        squares = weighted_fit(drawn, design.basis, n / (units * (1 - units))).squares
        p_value = (1 + float((squares >= statistic * (1 - 1e-12)).sum())) / (draws + 1)
    return statistic, freedom, p_value
