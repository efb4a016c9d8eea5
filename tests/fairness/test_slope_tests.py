"""Tests between sets of slopes: against the formulas, and against each other."""

import itertools

import numpy as np
import pytest
from scipy import stats

from percert.fairness.slope_tests import adjust_comparison, compare_slopes, pair_models


def slopes(seed=0, models=50, mean=0.5, sd=0.2):
    return np.random.default_rng(seed).normal(mean, sd, models)


def test_the_paired_test_is_the_formula_with_one_less_than_the_models():
    ours, theirs = slopes(0), slopes(1, mean=0.62)
    gaps = theirs - ours
    t = gaps.mean() / (gaps.std(ddof=1) / np.sqrt(50))
    result = compare_slopes(ours, theirs, name="ours", other="pgd", paired=True)
    assert result.deciding is result.paired
    assert result.paired.statistic == pytest.approx(t)
    assert result.paired.df == (49,)
    assert result.paired.p_value == pytest.approx(stats.t.sf(t, 49))
    assert result.paired.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    reach = stats.t.ppf(0.975, 49) * gaps.std(ddof=1) / np.sqrt(50)
    assert result.paired.interval == pytest.approx((gaps.mean() - reach, gaps.mean() + reach))
    assert result.paired.null == "The mean slope of ours is at least that of pgd."


def test_welch_is_the_formula():
    ours, theirs = slopes(0, models=12, sd=0.1), slopes(1, models=30, mean=0.6, sd=0.3)
    parts = ours.var(ddof=1) / 12, theirs.var(ddof=1) / 30
    df = sum(parts) ** 2 / (parts[0] ** 2 / 11 + parts[1] ** 2 / 29)
    t = (theirs.mean() - ours.mean()) / np.sqrt(sum(parts))
    result = compare_slopes(ours, theirs)
    assert result.paired is None
    assert result.deciding is result.welch
    assert result.welch.statistic == pytest.approx(t)
    assert result.welch.df == pytest.approx((df,))
    assert result.welch.p_value == pytest.approx(stats.t.sf(t, df))


def test_the_permutation_of_few_pairs_is_every_choice_of_signs():
    ours, theirs = slopes(3, models=8), slopes(4, models=8, mean=0.6)
    gaps = theirs - ours
    signs = np.array(list(itertools.product([1, -1], repeat=8)))
    expected = ((signs * gaps).mean(1) >= gaps.mean() - 1e-12).mean()
    permutation = compare_slopes(ours, theirs, paired=True).permutation
    assert permutation.p_value == pytest.approx(expected)


def test_the_permutation_of_few_models_is_every_choice_of_labels():
    ours, theirs = slopes(3, models=4), slopes(4, models=5, mean=0.6)
    both = np.concatenate([theirs, ours])
    observed = theirs.mean() - ours.mean()
    hits = [
        both[list(taken)].mean() - np.delete(both, list(taken)).mean() >= observed - 1e-12
        for taken in itertools.combinations(range(9), 5)
    ]
    assert compare_slopes(ours, theirs).permutation.p_value == pytest.approx(np.mean(hits))


def test_the_three_tests_agree_on_normal_slopes():
    result = compare_slopes(slopes(0), slopes(1, mean=0.55), paired=True)
    p_values = [result.paired.p_value, result.welch.p_value, result.permutation.p_value]
    # 9,999 permutations know a p-value of 0.1 within 0.003; the tests differ by little more.
    assert max(p_values) - min(p_values) < 0.03


def test_the_side_matters():
    low, high = slopes(0), slopes(1, mean=0.8)
    smaller = compare_slopes(low, high, paired=True)
    larger = compare_slopes(high, low, paired=True)
    for name in ("paired", "welch"):
        ours, theirs = getattr(smaller, name), getattr(larger, name)
        assert ours.statistic == pytest.approx(-theirs.statistic)
        assert ours.p_value == pytest.approx(1 - theirs.p_value)
    assert smaller.permutation.p_value < 0.001 < 0.999 < larger.permutation.p_value
    assert smaller.paired.may.startswith("Rejected")
    assert larger.paired.may.startswith("Not rejected")


def test_power_is_the_share_of_samples_that_reject():
    ours, theirs = slopes(5, models=20), slopes(6, models=20, mean=0.6)
    result = compare_slopes(ours, theirs, paired=True)
    rng = np.random.default_rng(0)
    samples = rng.normal(result.paired.effect, 1.0, (4000, 20))
    share = (stats.ttest_1samp(samples, 0, axis=1, alternative="greater").pvalue < 0.05).mean()
    # The share of 4,000 draws has a standard error of at most 0.008; 4 of these.
    assert result.power.observed == pytest.approx(share, abs=0.032)
    samples = rng.normal(result.power.smallest_effect, 1.0, (4000, 20))
    share = (stats.ttest_1samp(samples, 0, axis=1, alternative="greater").pvalue < 0.05).mean()
    assert share == pytest.approx(0.8, abs=0.026)
    gaps = (theirs - ours).std(ddof=1)
    assert result.power.smallest_difference == pytest.approx(result.power.smallest_effect * gaps)


def test_sizes_of_slopes_are_compared_where_asked():
    ours, theirs = slopes(0, mean=-0.9, sd=0.1), slopes(1, mean=0.1, sd=0.1)
    plain = compare_slopes(ours, theirs, paired=True)
    assert plain.paired.significant  # -0.9 is smaller than 0.1, but less fair
    assert "Some slopes are negative" in plain.paired.may_not
    sized = compare_slopes(ours, theirs, paired=True, magnitude=True)
    assert not sized.paired.significant
    assert "negative" not in sized.paired.may_not
    assert "size" in sized.paired.null


def test_the_same_seed_gives_the_same_result():
    ours, theirs = slopes(0), slopes(1)
    first, again = (compare_slopes(ours, theirs, seed=3) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ([0.1], [0.1, 0.2], "at least 2"),
        ([0.1, np.nan], [0.1, 0.2], "finite"),
        ([0.1, 0.1], [0.2, 0.2], "no spread"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(ours, theirs, said):
    with pytest.raises(ValueError, match=said):
        compare_slopes(np.array(ours), np.array(theirs))


def test_a_constant_shift_leaves_no_pairs_to_test():
    ours = slopes(0, models=6)
    result = compare_slopes(ours, ours, paired=True)
    assert result.paired is None
    assert result.deciding is result.welch
    assert result.welch.p_value == pytest.approx(0.5)


def test_models_are_paired_only_where_they_are_said_to_be():
    ours, theirs = slopes(0), slopes(1)
    assert compare_slopes(ours, theirs).paired is None
    shuffled = np.random.default_rng(2).permutation(theirs)
    straight, turned = (compare_slopes(ours, others).welch for others in (theirs, shuffled))
    assert turned.p_value == pytest.approx(straight.p_value, rel=1e-9)
    assert turned.may == straight.may
    with pytest.raises(ValueError, match="expected pairs of models, found 50 and 49"):
        compare_slopes(ours, theirs[1:], paired=True)


def test_what_the_sets_do_show_is_said():
    """t = -34 between two sets of 50, and it said that nothing was shown."""
    low, high = slopes(0, sd=0.02), slopes(1, mean=0.7, sd=0.02)
    opposite = compare_slopes(high, low, name="ours", other="pgd").deciding
    assert opposite.statistic < -30
    assert opposite.interval[1] < 0
    assert "They show the opposite: it is larger, here by 0.1967" in opposite.may
    near = compare_slopes(slopes(0), slopes(3), name="ours", other="pgd").deciding
    assert near.interval[0] < 0 < near.interval[1]
    assert "nor that it is not" in near.may
    assert "opposite" not in near.may
    found = compare_slopes(low, high).deciding
    assert found.may.startswith("Rejected")
    assert f"between {found.interval[0]:.4g} and {found.interval[1]:.4g}" in found.may


def test_of_several_attributes_the_adjusted_p_value_decides_and_is_said():
    alone = compare_slopes(slopes(0), slopes(1, mean=0.62), name="ours", other="pgd")
    assert alone.deciding.significant
    beside = adjust_comparison(alone, 0.3, 4, 0.95)
    assert not beside.deciding.significant
    assert beside.deciding.may.startswith("Not rejected")
    assert "p = 0.3 by Holm's method for 4 tests" in beside.deciding.may
    assert beside.to_dict()["welch"]["p_adjusted"] == 0.3


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs", "expected"),
    [
        (["a/m1", "a/m2"], ["b/m2", "b/m1"], "name", (["b/m1", "b/m2"], True)),
        (["a/a-1", "a/a-2"], ["b/b-2", "b/b-1"], "name", (["b/b-1", "b/b-2"], True)),
        (["a/m1", "a/m2"], ["b/m2", "b/m1"], "order", (["b/m2", "b/m1"], True)),
        (["a/m1", "a/m2"], ["b/m2", "b/m1"], "none", (["b/m2", "b/m1"], False)),
        (["a/m1", "a/m2"], ["b/m2", "b/m3"], "name", (["b/m2", "b/m3"], False)),
        (["a/m1", "a/m2"], ["b/m2"], "order", (["b/m2"], False)),
        (["a/m1", "a/a-m1"], ["b/m1", "b/m2"], "name", (["b/m1", "b/m2"], False)),
    ],
)
def test_models_are_paired_by_name_whatever_their_order(ours, theirs, pairs, expected):
    assert pair_models(ours, theirs, ("a", "b"), pairs) == (ours, *expected)
