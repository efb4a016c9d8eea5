"""Thresholds and average precision against slow twins and hand-computed numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percert.evaluation.copies.rates import (
    micro_average_precision,
    operating_point,
    roc_curve,
    threshold_at,
)

# Few values, so that ties are the rule.
DISTANCES = st.lists(st.integers(0, 6).map(lambda k: k / 6), min_size=1, max_size=40)
RATES = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.29, 0.5, 0.99])


def slow_best_rate(positives: list[float], negatives: list[float], fpr: float) -> float:
    """Try every threshold that makes a difference; keep the best that the rate allows."""
    best = 0.0
    for threshold in [-1.0, *positives, *negatives]:
        if sum(x <= threshold for x in negatives) <= fpr * len(negatives) + 1e-9:
            best = max(best, sum(x <= threshold for x in positives) / len(positives))
    return best


@given(DISTANCES, DISTANCES, RATES)
def test_no_allowed_threshold_finds_more(
    positives: list[float], negatives: list[float], fpr: float
) -> None:
    point = operating_point(np.array(positives), np.array(negatives), fpr)
    assert point.fpr_found <= fpr + 1e-12
    assert point.tpr == pytest.approx(slow_best_rate(positives, negatives, fpr))


def slow_average_precision(positives: list[float], negatives: list[float]) -> float:
    ranked = sorted([(x, 1) for x in positives] + [(x, 0) for x in negatives])
    hits, total = 0, 0.0
    for rank, (_, copy) in enumerate(ranked, start=1):
        hits += copy
        total += copy * hits / rank
    return total / len(positives)


@given(DISTANCES, DISTANCES)
def test_average_precision_is_that_of_the_ranking(
    positives: list[float], negatives: list[float]
) -> None:
    found = micro_average_precision(np.array(positives), np.array(negatives))
    assert found == pytest.approx(slow_average_precision(positives, negatives))


def test_average_precision_by_hand() -> None:
    """Ranking: copy, other, copy, copy, other: (1/1 + 2/3 + 3/4) / 3."""
    found = micro_average_precision(np.array([0.1, 0.3, 0.4]), np.array([0.2, 0.5]))
    assert found == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_ties_are_worth_nothing() -> None:
    equal = np.full(4, 0.5)
    assert operating_point(equal, equal, 0.5).tpr == 0
    assert micro_average_precision(np.array([0.5]), equal) == pytest.approx(1 / 5)


def test_invalid_input_is_named() -> None:
    with pytest.raises(ValueError, match="without NaN"):
        threshold_at(np.array([0.1, np.nan]), 0.1)
    with pytest.raises(ValueError, match="found 0"):
        threshold_at(np.array([]), 0.1)
    with pytest.raises(ValueError, match="found 1"):
        threshold_at(np.array([0.1]), 1)
    with pytest.raises(ValueError, match="at least one copy"):
        micro_average_precision(np.array([]), np.array([0.1]))


@given(DISTANCES, DISTANCES)
def test_the_roc_curve_is_made_of_operating_points(
    positives: list[float], negatives: list[float]
) -> None:
    curve = roc_curve(np.array(positives), np.array(negatives), 9)
    assert curve[-1] == (1.0, 1.0)
    assert curve == sorted(curve)
    for false, true in curve[:-1]:
        if false < 1:
            assert true == pytest.approx(slow_best_rate(positives, negatives, false))
