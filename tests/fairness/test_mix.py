"""Groups within strata against statsmodels, R's values for Berkeley, and simulation."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from statsmodels.stats.contingency_tables import StratifiedTable

from percert.fairness.mix import adjust_for_mix
from percert.fairness.regression import CannotEstimate

#: UCBAdmissions of R: department, sex, admitted, rejected (Bickel et al., 1975).
BERKELEY = (
    ("A", "Male", 512, 313),
    ("A", "Female", 89, 19),
    ("B", "Male", 353, 207),
    ("B", "Female", 17, 8),
    ("C", "Male", 120, 205),
    ("C", "Female", 202, 391),
    ("D", "Male", 138, 279),
    ("D", "Female", 131, 244),
    ("E", "Male", 53, 138),
    ("E", "Female", 94, 299),
    ("F", "Male", 22, 351),
    ("F", "Female", 24, 317),
)


def berkeley():
    rows = [
        (department, sex, admitted)
        for department, sex, yes, no in BERKELEY
        for admitted, count in ((1, yes), (0, no))
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["stratum", "group", "correct"])


def drawn(seed=0, groups=5, strata=7, size=900):
    rng = np.random.default_rng(seed)
    group, stratum = rng.integers(0, groups, size), rng.integers(0, strata, size)
    stratum = np.where(rng.random(size) < 0.4, (group * 2) % strata, stratum)  # mixes differ
    odds = 0.3 * group + np.linspace(-1.5, 2, strata)[stratum]
    return pd.DataFrame(
        {
            "group": [f"g{g}" for g in group],
            "stratum": [f"s{s}" for s in stratum],
            "correct": (rng.random(size) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    )


def adjusted(rows):
    return adjust_for_mix(rows["group"], rows["stratum"], rows["correct"].to_numpy(float))


def test_the_admissions_to_berkeley_as_r_has_them():
    """mantelhaen.test(UCBAdmissions, correct = FALSE): 1.5246, df 1, p 0.2169."""
    found = adjusted(berkeley())
    assert (round(found.statistic, 4), found.df, round(found.p_value, 4)) == (1.5246, 1, 0.2169)
    raw = berkeley().groupby("group")["correct"].mean()
    assert raw["Male"] - raw["Female"] > 0.14
    male = found.share[found.groups.index("Male")] - found.share[found.groups.index("Female")]
    assert -0.05 < male < 0


def test_two_groups_as_statsmodels_has_them():
    rows = drawn(1, groups=2)
    tables = [
        part.groupby(["group", "correct"]).size().unstack(fill_value=0).to_numpy()
        for _, part in rows.groupby("stratum")
    ]
    other = StratifiedTable([table for table in tables if table.shape == (2, 2)]).test_null_odds()
    found = adjusted(rows)
    assert found.statistic == pytest.approx(other.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(other.pvalue, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_least_squares_means_at_the_mix_of_all_images(seed):
    rows = drawn(seed)
    fit = smf.ols("correct ~ C(group) + C(stratum)", rows).fit()
    found = adjusted(rows)
    for group, share in zip(found.groups, found.share, strict=True):
        assert share == pytest.approx(fit.predict(rows.assign(group=group)).mean(), abs=1e-10)


def test_the_images_behind_a_share_are_those_of_its_variance():
    """Of draws without any difference between groups; strata and groups stay as they are."""
    rows = drawn(3, size=600)
    rate = rows.groupby("stratum")["correct"].transform("mean").to_numpy()
    rng = np.random.default_rng(0)
    shares, n = [], []
    for _ in range(1500):
        found = adjusted(rows.assign(correct=(rng.random(len(rows)) < rate).astype(int)))
        shares.append(found.share)
        n.append(found.n)
    pool = rate.mean()
    expected = pool * (1 - pool) / np.var(shares, axis=0)
    assert np.mean(n, axis=0) == pytest.approx(expected, rel=0.12)
    assert (expected > rows.groupby("group").size().to_numpy() * 0.3).all()


def test_the_test_has_the_distribution_of_permutations_within_strata():
    rows = drawn(4, size=300)
    found = adjusted(rows)
    rng = np.random.default_rng(1)
    statistics = []
    for _ in range(2000):
        mixed = rows.assign(
            correct=rows.groupby("stratum")["correct"].transform(lambda part: rng.permutation(part))
        )
        statistics.append(adjusted(mixed).statistic)
    assert found.df == 4
    assert np.mean(statistics) == pytest.approx(4, abs=0.25)  # exact, by permutation
    assert np.mean(np.array(statistics) > 9.488) == pytest.approx(0.05, abs=0.02)


def test_groups_that_share_no_stratum_are_named_and_left_apart():
    rows = drawn(5, groups=3)
    lonely = pd.DataFrame({"group": "x", "stratum": "other", "correct": [1, 0, 1]})
    found = adjusted(pd.concat([rows, lonely]))
    assert found.apart == ("x",)
    assert found.groups == ("g0", "g1", "g2")
    assert found.share == pytest.approx(adjusted(rows).share, abs=1e-12)


def test_groups_that_are_linked_through_others_are_compared():
    rows = pd.DataFrame(
        [("a", "1", 1), ("a", "1", 0), ("b", "1", 1), ("b", "2", 0), ("c", "2", 1), ("c", "2", 0)],
        columns=["group", "stratum", "correct"],
    )
    assert adjusted(rows).apart == ()


def test_nothing_in_common_is_refused():
    rows = pd.DataFrame([("a", "1", 1), ("b", "2", 0)], columns=["group", "stratum", "correct"])
    with pytest.raises(CannotEstimate, match="no two groups share a stratum"):
        adjusted(rows)


def test_the_variance_is_the_sandwich_of_statsmodels():
    """With each stratum's own variance in the middle, as under no difference between groups."""
    rows = drawn(6)
    rate = rows.groupby("stratum")["correct"].transform("mean").to_numpy()
    exog = sm.add_constant(
        pd.get_dummies(rows[["group", "stratum"]], drop_first=True).to_numpy(float)
    )
    bread = np.linalg.inv(exog.T @ exog)
    cov = bread @ (exog.T * (rate * (1 - rate))) @ exog @ bread
    found = adjusted(rows)
    pool = rows["correct"].mean()
    dummies = pd.get_dummies(rows[["group", "stratum"]])
    for place, group in enumerate(found.groups):
        at = dummies.mean()
        at[[name for name in dummies if name.startswith("group_")]] = 0.0
        at[f"group_{group}"] = 1.0
        point = np.concatenate([[1.0], at.drop([dummies.columns[0], "stratum_s0"]).to_numpy(float)])
        # Least-squares means at fixed weights; the mean of all images is known as well as it is.
        assert pool * (1 - pool) / found.n[place] == pytest.approx(point @ cov @ point, rel=1e-6)
