"""What slopes generalise to: errors with known truth, and intervals that cover it."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.predictions import check_predictions
from percert.fairness.report import write_report
from percert.fairness.resampling import SetShares, generalise, image_shares


def one_set(right, group, x, weights=None, slopes=None):
    n = np.bincount(group).astype(float)
    weights = n if weights is None else weights
    share = np.bincount(group, right) / n
    slope = sm.WLS(share, sm.add_constant(x), weights=weights).fit().params[1]
    return SetShares(np.array([slope]) if slopes is None else slopes, weights, right)


def images(rng, sizes, shares):
    group = np.repeat(np.arange(len(sizes)), sizes)
    return group, (rng.random(len(group)) < np.asarray(shares)[group]).astype(float)


def test_the_error_over_images_is_the_binomials():
    rng = np.random.default_rng(0)
    sizes, x = np.array([100, 300, 50, 800, 200]), np.array([0.0, 1, 2, 5, 6])
    group, right = images(rng, sizes, [0.5, 0.6, 0.7, 0.8, 0.6])
    found = generalise(
        [one_set(right, group, x)], group, x, of="m", attribute_name="x", draws=20000
    )
    share, w = np.bincount(group, right) / sizes, sizes.astype(float)
    lever = w * (x - (w @ x) / w.sum())
    lever = lever / (lever @ x)
    expected = np.sqrt((lever**2 * share * (1 - share) / sizes).sum())
    assert found.reaches[0].of == "other images of these groups"
    assert found.reaches[0].error == pytest.approx(expected, rel=0.03)


def test_the_error_over_groups_is_near_that_of_white():
    """The pairs bootstrap estimates what heteroskedasticity-robust errors do."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    sizes = np.full(60, 4000)
    group, right = images(rng, sizes, np.clip(0.6 + 0.05 * x + 0.05 * rng.normal(size=60), 0, 1))
    found = generalise([one_set(right, group, x)], group, x, of="m", attribute_name="x")
    share = np.bincount(group, right) / sizes
    white = sm.OLS(share, sm.add_constant(x)).fit(cov_type="HC2").bse[1]
    assert found.reaches[1].error == pytest.approx(white, rel=0.12)


@pytest.mark.parametrize("count", [14, 40])
def test_intervals_cover_what_they_are_for_and_not_more(count):
    """Models, groups and images are drawn; the truth is the slope of all trainings and groups."""
    rng = np.random.default_rng(count)
    held, runs, models = np.zeros(4), 300, 8
    for _ in range(runs):
        x = rng.normal(size=count)
        sizes = np.round(60 * 8 ** rng.random(count)).astype(int)
        slopes = 0.04 + 0.02 * rng.normal(size=models)
        own = 0.06 * rng.normal(size=count)
        group = np.repeat(np.arange(count), sizes)
        luck = rng.random(len(group))  # an image is hard for all models
        hits = [luck < np.clip(0.6 + s * x + own, 0, 1)[group] for s in slopes]
        right = np.mean(hits, axis=0)
        w = 1 / (0.06**2 + 0.24 / sizes)
        fits = [
            sm.WLS(np.bincount(group, hit) / sizes, sm.add_constant(x), weights=w).fit().params[1]
            for hit in hits
        ]
        found = generalise(
            [one_set(right, group, x, w, np.array(fits))], group, x, of="m", attribute_name="x",
            draws=300,
        )  # fmt: skip
        held += [low < 0.04 < high for low, high in (entry.interval for entry in found.reaches)]
    trainings, pictures, groups, everything = held / runs
    assert everything > 0.925
    assert groups < everything
    assert trainings < 0.85
    assert pictures < 0.85


def test_two_sets_that_share_images_are_compared_on_them():
    """What both have right and wrong alike does not count: the difference is known much better."""
    rng = np.random.default_rng(3)
    x, sizes = np.linspace(-1, 1, 20), np.full(20, 500)
    group, first = images(rng, sizes, 0.6 + 0.1 * x)
    second = np.where(rng.random(len(first)) < 0.03, 1 - first, first)
    both = [one_set(first, group, x), one_set(second, group, x)]
    gap = generalise(both, group, x, of="a less b", attribute_name="x")
    alone = generalise(both[:1], group, x, of="a", attribute_name="x")
    assert gap.reaches[0].error < 0.4 * alone.reaches[0].error
    assert gap.value == pytest.approx(both[0].slopes[0] - both[1].slopes[0])


def frame(models, slope, seed):
    rng = np.random.default_rng(seed)
    rows = [
        (f"m{m}", f"g{g:02d}/{i}", f"g{g:02d}", int(rng.random() < 0.6 + (slope + 0.004 * m) * g))
        for m in range(models)
        for g in range(12)
        for i in range(60)
    ]
    return check_predictions(pd.DataFrame(rows, columns=["model", "image", "group", "correct"]))


def test_the_audit_says_what_its_slopes_generalise_to(tmp_path):
    given = pd.DataFrame({"x": np.arange(12.0)}, [f"g{g:02d}" for g in range(12)])
    ours, theirs = frame(4, 0.01, 0), frame(4, 0.02, 1)
    audit = audit_groups(
        ours, given, against=theirs, names=("ours", "theirs", "start"),
        settings=AuditSettings(draws=200),
    )  # fmt: skip
    assert [entry.of for entry in audit.generality] == [
        "ours, mean of 4", "theirs, mean of 4", "ours less theirs",
    ]  # fmt: skip
    assert [reach.of for reach in audit.generality[0].reaches] == [
        "other trainings", "other images of these groups", "other groups",
        "other trainings, images and groups",
    ]  # fmt: skip
    lines = [entry.line.slope for entry in audit.headline("ours", "x")]
    assert audit.generality[0].value == pytest.approx(np.mean(lines))
    assert audit.generality[2].value == pytest.approx(
        audit.comparisons["x"].mean[0] - audit.comparisons["x"].mean[1]
    )
    write_report(audit, tmp_path)
    assert "To what does it generalise?" in (tmp_path / "report.html").read_text()


def test_shares_of_images_are_means_over_a_sets_models():
    rows = frame(3, 0.02, 5)
    groups = pd.Index(sorted(rows["group"].unique()))
    shares, group = image_shares(rows, {"s": ["m0", "m2"]}, groups)
    mean = rows[rows["model"].isin(["m0", "m2"])].groupby("image", sort=False)["correct"].mean()
    assert shares["s"] == pytest.approx(mean.to_numpy())
    assert np.bincount(group).tolist() == [60] * 12
