"""Tests between the slopes of two sets of models, such as two ways of training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from statsmodels.stats.power import TTestIndPower, TTestPower  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import (
    LEVEL,
    TestResult,
    comparison_may,
    comparison_may_not,
    comparison_null,
)
from percert.fairness.least_squares import Array
from percert.fairness.p_values import holm
from percert.reports.table import finite

#: Of the permutation tests, beyond which not all rearrangements are gone through.
PERMUTATIONS = 9_999
#: The power for which the smallest difference found is stated.
USUAL_POWER = 0.8


@dataclass(frozen=True)
class Power:
    """What a one-sided test at the level 0.05 can see.

    ``observed`` is its power if the true effect is the one observed: a restatement of the p-value,
    no evidence of its own. ``smallest_effect`` is the standardised effect, and
    ``smallest_difference`` the difference of mean slopes, that it finds four times in five.
    """

    observed: float
    smallest_effect: float
    smallest_difference: float


@dataclass(frozen=True)
class SlopeComparison:
    """Set ``name`` against set ``other``: is its mean slope smaller?

    The statistics are positive where the slopes of ``name`` are the smaller ones. ``paired`` is
    ``None`` where models were not paired. ``power`` belongs to the test that decides.
    """

    name: str
    other: str
    models: tuple[int, int]
    mean: tuple[float, float]
    sd: tuple[float, float]
    magnitude: bool
    paired: TestResult | None
    welch: TestResult
    permutation: TestResult
    power: Power

    @property
    def deciding(self) -> TestResult:
        """The paired test, or Welch's where there are no pairs."""
        return self.paired or self.welch

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields: dict[str, Any] = finite(self) | {"null": self.welch.null}
        return fields


def compare_slopes(
    slopes: Array,
    others: Array,
    *,
    name: str = "ours",
    other: str = "theirs",
    paired: bool = False,
    magnitude: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
    outcome: str = "accuracy",
) -> SlopeComparison:
    """One-sided tests of H0: the mean of ``slopes`` is at least that of ``others``.

    ``slopes`` ``(m,)`` and ``others`` ``(k,)`` are one slope a model. With ``paired`` model i of
    one set belongs to model i of the other (m - 1 degrees of freedom, as the number printed in
    section 4 of Human Imperceptible Attacks was computed): right where they share a seed or a
    start. Welch's test does without pairs and without equal variances; the permutation test without
    normality: it flips the signs of paired differences, or shuffles who belongs where.
    ``magnitude`` compares sizes, |slope|: 0 is the fair value. ``outcome`` is what the slopes are
    of, in words.

    Raises ``ValueError`` for fewer than 2 models a set, pairs of sets of different sizes, or no
    spread at all.

    >>> rng = np.random.default_rng(0)
    >>> result = compare_slopes(rng.normal(0.5, 0.2, 50), rng.normal(0.7, 0.2, 50), paired=True)
    >>> result.paired.df, result.paired.p_value < 0.001, result.paired.null
    ((49.0,), True, 'The mean slope of ours is at least that of theirs.')
    """
    ours, theirs = _checked(slopes, name), _checked(others, other)
    if paired and len(ours) != len(theirs):
        raise ValueError(
            f"{name}, {other}: expected pairs of models, found {len(ours)} and {len(theirs)}"
        )
    any_negative = bool(min(ours.min(), theirs.min()) < 0)
    if magnitude:
        ours, theirs = np.abs(ours), np.abs(theirs)
    if np.ptp(ours) == 0 and np.ptp(theirs) == 0:
        raise ValueError(f"{name}, {other}: no spread within either set, so nothing to test with")
    difference = float(theirs.mean() - ours.mean())
    null = comparison_null(name, other, magnitude)
    may_not = comparison_may_not(name, any_negative, magnitude, outcome)

    def result(
        test: str,
        statistic: float,
        df: tuple[float, ...],
        p_value: float,
        effect: float,
        effect_name: str,
        interval: tuple[float, float] | None = None,
    ) -> TestResult:
        may = comparison_may(
            p_value, p_value, name, other, difference, interval, magnitude, confidence
        )
        return TestResult(
            test, statistic, df, p_value, p_value, effect, effect_name, interval, null, may, may_not
        )

    def t_test(test: str, run: Callable[..., Any], effect: float, effect_name: str) -> TestResult:
        found = run(theirs, ours, alternative="greater")
        ends = run(theirs, ours).confidence_interval(confidence)
        return result(
            f"{test}, one-sided",
            float(found.statistic),
            (float(found.df),),
            float(found.pvalue),
            effect,
            effect_name,
            (float(ends.low), float(ends.high)),
        )

    pairs = None
    gaps = theirs - ours if paired else None
    if gaps is not None and np.ptp(gaps) == 0:
        gaps = None  # the same difference in every pair leaves no error to test it with
    if gaps is not None:
        pairs = t_test(
            "paired t-test",
            stats.ttest_rel,
            float(gaps.mean() / gaps.std(ddof=1)),
            "Cohen's d of the pairs: mean difference by its standard deviation",
        )
    pooled = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2))
    welch = t_test(
        "Welch's t-test",
        partial(stats.ttest_ind, equal_var=False),
        difference / pooled,
        "Cohen's d: difference of means by the pooled standard deviation",
    )
    statistic, p_value = _permute(ours, theirs, gaps, seed)
    permutation = result(
        "permutation test, one-sided, " + ("signs of pairs" if gaps is not None else "labels"),
        statistic,
        (),
        p_value,
        difference,
        "difference of mean slopes",
    )
    if gaps is not None and pairs is not None:
        power = _power(TTestPower(), {"nobs": len(gaps)}, pairs.effect, float(gaps.std(ddof=1)))
    else:
        sizes = {"nobs1": len(theirs), "ratio": len(ours) / len(theirs)}
        power = _power(TTestIndPower(), sizes, welch.effect, pooled)
    return SlopeComparison(
        name=name,
        other=other,
        models=(len(ours), len(theirs)),
        mean=(float(ours.mean()), float(theirs.mean())),
        sd=(float(ours.std(ddof=1)), float(theirs.std(ddof=1))),
        magnitude=magnitude,
        paired=pairs,
        welch=welch,
        permutation=permutation,
        power=power,
    )


def adjust_comparison(
    found: SlopeComparison, p_adjusted: float, tests: int, confidence: float
) -> SlopeComparison:
    """The comparison as one of several ``tests``: what decides, and is said, is the adjusted p."""
    decides = found.deciding
    may = comparison_may(
        decides.p_value, p_adjusted, found.name, found.other, found.mean[1] - found.mean[0],
        decides.interval, found.magnitude, confidence, tests,
    )  # fmt: skip
    decided = decides.adjusted(p_adjusted, may)
    if found.paired is None:
        return replace(found, welch=decided)
    return replace(found, paired=decided)


def compare_by_attribute(
    slopes: Mapping[str, tuple[Array, Array]], *, confidence: float = 0.95, **how: Any
) -> dict[str, SlopeComparison]:
    """The comparison on each attribute, with Holm's correction for their number.

    ``slopes`` has those of both sets by attribute; ``how`` goes to :func:`compare_slopes`.
    """
    found = {
        attribute: compare_slopes(ours, theirs, confidence=confidence, **how)
        for attribute, (ours, theirs) in slopes.items()
    }
    adjusted = holm([entry.deciding.p_value for entry in found.values()])
    return {
        attribute: adjust_comparison(entry, p_value, len(found), confidence)
        for (attribute, entry), p_value in zip(found.items(), adjusted, strict=True)
    }


def _checked(slopes: Array, name: str) -> Array:
    values: Array = np.asarray(slopes, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name}: expected the slopes of at least 2 models, found {values.size}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite slopes, found NaN or infinity")
    return values


def _permute(ours: Array, theirs: Array, gaps: Array | None, seed: int) -> tuple[float, float]:
    def mean_difference(*samples: Array, axis: int) -> Array:
        means = [sample.mean(axis=axis) for sample in samples]
        difference: Array = means[0] - means[1] if len(means) > 1 else means[0]
        return difference

    found = stats.permutation_test(
        (theirs, ours) if gaps is None else (gaps,),
        mean_difference,
        permutation_type="independent" if gaps is None else "samples",  # which flips signs
        vectorized=True,
        n_resamples=PERMUTATIONS,
        alternative="greater",
        random_state=np.random.default_rng(seed),
    )
    return float(found.statistic), float(found.pvalue)


def _power(solver: Any, sizes: dict[str, float], effect: float, sd: float) -> Power:
    how = {**sizes, "alpha": LEVEL, "alternative": "larger"}
    smallest = float(solver.solve_power(**how, power=USUAL_POWER))
    observed = float(solver.power(effect, **how))
    return Power(observed, smallest, smallest * sd)


#: By name, by place in the files, or not at all.
Pairing = Literal["name", "order", "none"]


def pair_models(
    ours: list[str], theirs: list[str], sets: tuple[str, ...], pairs: Pairing
) -> tuple[list[str], list[str], bool]:
    """Both sets' models, paired one to one where the last value is True.

    By name, models belong together that are called the same once the name of their set is taken
    off: ``dro/seed-3`` and ``pgd/seed-3``, ``dro-3`` and ``pgd-3``. Sets of which one model has no
    partner are not paired at all: what is left would be a choice. By order, sets of the same size
    are paired as their files have them.

    >>> pair_models(["a/1", "a/2"], ["b/2", "b/1"], ("a", "b"), "name")
    (['a/1', 'a/2'], ['b/1', 'b/2'], True)
    >>> pair_models(["a/1", "a/2"], ["b/2", "b/3"], ("a", "b"), "name")[2]
    False
    """
    if pairs == "none" or len(ours) != len(theirs):
        return ours, theirs, False
    if pairs == "order":
        return ours, theirs, True
    partners = {_bare(model, sets[1]): model for model in theirs}
    found = [partners.get(_bare(model, sets[0])) for model in ours]
    matched = [model for model in found if model is not None]
    if len(set(matched)) < len(ours):
        return ours, theirs, False
    return ours, matched, True


def _bare(model: str, members: str) -> str:
    """The model's name without its set's, and without what joined them."""
    return model.removeprefix(f"{members}/").removeprefix(members).strip("/-_. ")
