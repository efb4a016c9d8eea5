"""The joint regression against statsmodels and R's values, and its level by simulation."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from statsmodels.stats.outliers_influence import variance_inflation_factor

from percert.fairness.joint import fit_joint
from percert.fairness.least_squares import design_of
from percert.fairness.mix import adjust_for_mix
from percert.fairness.random_effects import block_between
from percert.fairness.regression import CannotEstimate, fit_line, fit_lines


def groups(count=30, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    frame = pd.DataFrame(
        {
            "x": 50 + 7 * x,
            "z": 1e6 * (0.7 * x + rng.normal(size=count)),
            "c": np.array(["east", "north", "west"])[rng.integers(0, 3, count)],
            "n": rng.integers(30, 900, count).astype(float),
        }
    )
    frame["y"] = np.clip(
        0.7 + 0.05 * x + 0.05 * (frame["c"] == "west") + 0.05 * rng.normal(size=count), 0, 1
    )
    return frame


def columns(frame, *names):
    return {name: frame[name].to_numpy() for name in names}


@pytest.mark.parametrize(
    ("covariance", "weights"),
    [("equal", lambda n: n**0), ("binomial", lambda n: n), ("paper", lambda n: np.sqrt(n))],
)
def test_every_term_is_that_of_statsmodels(covariance, weights):
    frame = groups()
    found = fit_joint(
        frame["y"].to_numpy(),
        frame["n"].to_numpy(),
        columns(frame, "x", "z", "c"),
        covariance=covariance,
    )
    fit = smf.wls("y ~ x + z + C(c)", frame, weights=weights(frame["n"])).fit()
    table = sm.stats.anova_lm(fit, typ=3)
    for term, name in zip(found.terms, ("x", "z", "C(c)"), strict=True):
        assert term.test.statistic == pytest.approx(table.loc[name, "F"], rel=1e-6)
        assert term.test.p_value == pytest.approx(table.loc[name, "PR(>F)"], rel=1e-6)
    assert found.terms[0].slope == pytest.approx(fit.params["x"])
    assert found.terms[1].interval == pytest.approx(tuple(fit.conf_int().loc["z"]))
    assert found.r2 == pytest.approx(fit.rsquared)
    middle = pd.DataFrame(
        {"x": frame["x"].mean(), "z": frame["z"].mean(), "c": ["east", "north", "west"]}
    )
    means = fit.get_prediction(middle).summary_frame()
    for category, (_, row) in zip(found.terms[2].categories, means.iterrows(), strict=True):
        assert category.mean == pytest.approx(row["mean"])
        assert category.interval == pytest.approx((row["mean_ci_lower"], row["mean_ci_upper"]))


def test_robust_terms_are_those_of_statsmodels():
    frame = groups(seed=1)
    found = fit_joint(
        frame["y"].to_numpy(), frame["n"].to_numpy(), columns(frame, "x", "c"), covariance="robust"
    )
    fit = smf.ols("y ~ x + C(c)", frame).fit(cov_type="HC3", use_t=True)
    wald = fit.wald_test("C(c)[T.north] = 0, C(c)[T.west] = 0", scalar=True, use_f=True)
    assert found.terms[1].test.statistic == pytest.approx(float(wald.statistic), rel=1e-6)
    assert found.terms[1].test.p_value == pytest.approx(float(wald.pvalue), rel=1e-6)


def test_inflation_is_statsmodels_and_fox_and_monettes():
    frame = groups(seed=2)
    found = fit_joint(frame["y"].to_numpy(), frame["n"].to_numpy(), columns(frame, "x", "z"))
    exog = sm.add_constant(frame[["x", "z"]].to_numpy())
    assert found.terms[0].inflation == pytest.approx(variance_inflation_factor(exog, 1))
    three = fit_joint(frame["y"].to_numpy(), frame["n"].to_numpy(), columns(frame, "x", "c"))
    # Of a number beside one other term both generalised factors are one, to the powers 1 and 1/2.
    assert three.terms[1].inflation == pytest.approx(three.terms[0].inflation ** 0.5)


def test_one_number_alone_is_the_line():
    frame = groups(seed=3)
    share, n = frame["y"].to_numpy(), frame["n"].to_numpy()
    line = fit_line(share, frame["x"].to_numpy(), n)
    (term,) = fit_joint(share, n, columns(frame, "x")).terms
    assert (term.slope, term.alone) == pytest.approx((line.slope, line.test.p_value))
    assert term.interval == pytest.approx(line.interval)
    assert term.test.p_value == pytest.approx(line.test.p_value)


def test_units_change_nothing_but_slopes():
    frame = groups(9, seed=4)
    share, n = frame["y"].to_numpy(), frame["n"].to_numpy()
    plain = fit_joint(share, n, columns(frame, "x", "z", "c"))
    other = fit_joint(
        share,
        n,
        columns(frame.assign(x=1e12 + 1e3 * frame["x"], z=frame["z"] / 1e9), "x", "z", "c"),
    )
    for one, two in zip(plain.terms, other.terms, strict=True):
        assert two.test.p_value == pytest.approx(one.test.p_value, rel=1e-5)
    assert other.terms[0].slope * 1e3 == pytest.approx(plain.terms[0].slope, rel=1e-5)


def drawn(rng, sizes, spread, draws, odds=1.4):
    true = 1 / (1 + np.exp(-(odds + spread * rng.normal(size=(draws, len(sizes))))))
    return rng.binomial(sizes.astype(int), true) / sizes


@pytest.mark.parametrize("spread", [0.0, 0.4])
@pytest.mark.parametrize("count", [9, 24])
def test_the_level_of_categories_beside_a_number(spread, count):
    rng = np.random.default_rng(count)
    sizes = np.round(30 * 40 ** rng.random(count))
    place = np.arange(count) % 3
    design = design_of(
        rng.normal(size=count), 1.0 * (place == 1), 1.0 * (place == 2), names=("x", "b", "c")
    )
    _, p_values = block_between(drawn(rng, sizes, spread, 6000), sizes, design, 2)
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.0125)


def test_two_attributes_that_go_together_are_told_apart():
    """Only z matters; alone, x takes credit for it."""
    rng = np.random.default_rng(7)
    sizes = np.full(40, 400.0)
    x = rng.normal(size=40)
    z = 0.8 * x + 0.6 * rng.normal(size=40)
    alone, beside = 0, []
    for _ in range(60):
        odds = 1 + 0.4 * z + 0.2 * rng.normal(size=40)
        share = rng.binomial(400, 1 / (1 + np.exp(-odds))) / 400
        found = fit_joint(share, sizes, {"x": x, "z": z}, draws=0)
        alone += found.terms[0].alone < 0.05
        beside.append([term.test.p_value < 0.05 for term in found.terms])
    assert alone > 57
    share_x, share_z = np.mean(beside, axis=0)
    assert share_x < 0.15
    assert share_z > 0.9


def test_groups_beyond_race_and_sex_are_their_interaction():
    """Weighted squares about the main effects: those of statsmodels."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame([(a, b) for a in "ABCD" for b in "fm"], columns=["race", "sex"]).assign(
        n=rng.integers(200, 600, 8).astype(float)
    )
    frame["y"] = (
        0.8 + 0.05 * (frame["sex"] == "m") + 0.1 * (frame["race"] == "B") * (frame["sex"] == "f")
    )
    found = fit_joint(frame["y"].to_numpy(), frame["n"].to_numpy(), columns(frame, "race", "sex"))
    pool = (frame["y"] * frame["n"]).sum() / frame["n"].sum()
    fit = smf.wls("y ~ C(race) + C(sex)", frame, weights=frame["n"] / (pool * (1 - pool))).fit()
    assert found.beyond[0] == pytest.approx(fit.ssr)
    assert found.beyond[1] == 3


def test_the_test_beyond_holds_its_level_with_few_images():
    rng = np.random.default_rng(5)
    given = {"race": np.repeat(["A", "B", "C"], 2), "sex": np.array(["f", "m"] * 3)}
    sizes = np.array([12.0, 15, 20, 25, 30, 40])
    shares = drawn(rng, sizes, 0.0, 400, odds=2.0)
    p_values = [
        fit_joint(s, sizes, given, covariance="equal", draws=400).beyond[2]
        for s in shares
        if np.ptp(s)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_a_mix_of_classes_that_goes_with_the_attribute_is_no_slope():
    """No group differs within any class; rich groups photograph easier ones."""
    rng = np.random.default_rng(11)
    count, classes = 14, 20
    x = np.linspace(-1, 1, count)
    sizes = np.round(60 * 10 ** rng.random(count)).astype(int)
    rate = np.linspace(0.35, 0.95, classes)
    mixes = np.exp(1.2 * np.outer(x, np.linspace(-1, 1, classes)))
    mixes /= mixes.sum(1, keepdims=True)
    group = np.repeat(np.arange(count), sizes)
    stratum = np.concatenate(
        [rng.choice(classes, size, p=mix) for size, mix in zip(sizes, mixes, strict=True)]
    )
    names = [f"{g:02d}" for g in group], [str(s) for s in stratum]
    shares, adjusted = [], []
    for _ in range(1200):
        correct = (rng.random(len(group)) < rate[stratum]).astype(float)
        shares.append(np.bincount(group, correct) / sizes)
        adjusted.append(adjust_for_mix(*names, correct))
    n = np.mean([found.n for found in adjusted], axis=0)
    after = np.stack([found.share for found in adjusted])
    raw = fit_lines(np.stack(shares), design_of(x), sizes.astype(float), "between").p_value
    assert (raw < 0.05).mean() > 0.98
    assert (fit_lines(after, design_of(x), n, "between").p_value < 0.05).mean() == pytest.approx(
        0.05, abs=0.02
    )


def test_what_cannot_be_told_apart_is_said():
    frame = groups(6)
    share, n = frame["y"].to_numpy(), frame["n"].to_numpy()
    with pytest.raises(CannotEstimate, match="the other columns determine it"):
        fit_joint(share, n, {"x": frame["x"].to_numpy(), "twice": 2 * frame["x"].to_numpy()})
    with pytest.raises(CannotEstimate, match="leave no error"):
        fit_joint(share, n, {"c": np.array(list("abcdef"))})
    with pytest.raises(CannotEstimate, match="one category has no difference"):
        fit_joint(share, n, {"c": np.array(["a"] * 6)})


def test_sentences_follow_the_adjusted_p_value():
    frame = groups(seed=5)
    found = fit_joint(
        frame["y"].to_numpy(), frame["n"].to_numpy(), columns(frame, "x", "c"), strata=("label",)
    )
    assert found.terms[0].test.null.endswith("with c and the mix of label held fixed.")
    told = found.adjusted({"x": 0.4, "c": 0.001}, "accuracy")
    assert told.terms[0].test.may.startswith("Not rejected at the level 0.05 (p = 0.4 by Holm's")
    assert told.terms[1].test.may.startswith("Rejected")
    assert "at the lowest" in told.terms[1].test.may
