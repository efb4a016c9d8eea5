"""Two versions on the same images: statsmodels' McNemar, coverage by simulation, and the audit."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of
from tests.reports.tables import said

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.drift import drift_table, drifts, version_rows
from percert.fairness.p_values import holm
from percert.fairness.predictions import check_predictions
from percert.fairness.report import write_report
from percert.fairness.versions import (
    change_intervals,
    compare_versions,
    gap_change_interval,
    mcnemar,
)


def versions(seed=0, shares=(0.9, 0.7, 0.8), gains=(0.0, 0.12, 0.03), images=300, model="m"):
    """Predictions before and now: of each group's wrong images some are right now, and back."""
    rng = np.random.default_rng(seed)
    count = len(shares) * images
    group = np.repeat(np.arange(len(shares)), images)
    then = rng.random(count) < np.array(shares)[group]
    flips = rng.random(count)
    gain = np.array(gains)[group]
    now = np.where(then, flips > 0.03, flips < 0.15 + gain)
    frame = pd.DataFrame(
        {"model": model, "image": np.arange(count), "group": [f"g{place}" for place in group]}
    )
    return tuple(
        check_predictions(frame.assign(correct=right.astype(int))) for right in (now, then)
    )


def test_every_group_has_mcnemars_test():
    now, then = versions()
    found = compare_versions(now.sample(frac=1, random_state=0), then)
    for entry in found.groups:
        rows = now["group"] == entry.group
        table = pd.crosstab(then["correct"][rows], now["correct"][rows])
        oracle = mcnemar_of(table, exact=True)
        assert entry.p_value == pytest.approx(oracle.pvalue)
        assert (entry.won, entry.lost) == (table.loc[0, 1], table.loc[1, 0])
        assert entry.change == pytest.approx(entry.now - entry.before)
        assert entry.interval[0] < entry.change < entry.interval[1]
    raw = [entry.p_value for entry in found.groups]
    assert [entry.p_holm for entry in found.groups] == pytest.approx(holm(raw))
    assert found.overall.n == 900
    oracle = mcnemar_of(pd.crosstab(then["correct"], now["correct"]), exact=True)
    assert found.overall.p_value == pytest.approx(oracle.pvalue)


def test_the_test_that_all_changed_alike_is_pearsons_where_nothing_is_lost():
    """From all wrong, the changes are shares: then it is the chi-square test of equal shares."""
    n, won = np.array([80, 120, 100]), np.array([20, 50, 31])
    right = np.concatenate([np.arange(size) < gained for size, gained in zip(n, won, strict=True)])
    frame = pd.DataFrame(
        {"model": "m", "image": np.arange(300), "group": np.repeat(["a", "b", "c"], n)}
    )
    now, then = (check_predictions(frame.assign(correct=value)) for value in (right.astype(int), 0))
    oracle = chi2_contingency([won, n - won], correction=False)
    assert compare_versions(now, then).heterogeneity == pytest.approx(
        (oracle.statistic, 2, oracle.pvalue)
    )


def drawn(rng, before, now, agree, n):
    """Counts of one group: right before, right now and both, with that share right both times."""
    p11 = agree * min(before, now)
    cells = [p11, before - p11, now - p11, 1 - before - now + p11]
    both, lost, won, _ = rng.multinomial(n, cells)
    return both + lost, both + won, both


@pytest.mark.parametrize(
    ("before", "now", "sizes"),
    [
        ((0.9, 0.7), (0.9, 0.82), (200, 300)),
        ((0.8, 0.8, 0.8, 0.8), (0.8, 0.8, 0.8, 0.8), (60, 100, 200, 400)),
        ((0.95, 0.9, 0.85), (0.9, 0.93, 0.9), (150, 150, 150)),
        ((0.9,) * 6 + (0.6,), (0.9,) * 6 + (0.85,), (100,) * 7),
    ],
    ids=["two", "alike", "turned", "worst"],
)
def test_the_interval_of_the_gaps_change_covers_it(before, now, sizes):
    rng = np.random.default_rng(7)
    n = np.array(sizes, float)
    truth = np.ptp(now) - np.ptp(before)
    held = []
    for _ in range(400):
        counts = [
            drawn(rng, p, q, 0.95, size) for p, q, size in zip(before, now, sizes, strict=True)
        ]
        right_before, right_now, both = np.array(counts, float).T
        low, high = gap_change_interval(np.stack([right_before, right_now]), both, n)
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.94


def test_a_gap_that_was_large_by_luck_is_rarely_called_smaller():
    """All alike before and now: the extreme groups fall back, and mean nothing."""
    rng = np.random.default_rng(8)
    n = np.full(20, 80.0)
    fell = []
    for _ in range(300):
        counts = np.array([drawn(rng, 0.85, 0.85, 0.9, 80) for _ in n], float).T
        fell.append(gap_change_interval(counts[:2], counts[2], n)[1] < 0)
    assert np.mean(fell) <= 0.025


@pytest.mark.parametrize(("p", "q", "n"), [(0.9, 0.9, 30), (0.7, 0.8, 100), (0.98, 0.95, 200)])
def test_the_interval_of_one_groups_change_covers_it(p, q, n):
    rng = np.random.default_rng(9)
    counts = np.array([drawn(rng, p, q, 0.985, n) for _ in range(4000)], float)
    won, lost = counts[:, 1] - counts[:, 2], counts[:, 0] - counts[:, 2]
    low, high = change_intervals(won, lost, np.full(4000, float(n)), 0.025)
    assert np.mean((low <= q - p) & (q - p <= high)) >= 0.94


def test_before_and_now_exchanged_turn_everything_around():
    now, then = versions()
    ours, theirs = compare_versions(now, then), compare_versions(then, now)
    assert theirs.gap_interval == pytest.approx((-ours.gap_interval[1], -ours.gap_interval[0]))
    for mine, other in zip(ours.groups, theirs.groups, strict=True):
        assert (mine.won, mine.lost) == (other.lost, other.won)
        assert mine.p_value == pytest.approx(other.p_value)
        assert mine.interval == pytest.approx((-other.interval[1], -other.interval[0]))


def test_no_change_is_no_evidence():
    now, _ = versions()
    found = compare_versions(now, now)
    assert [entry.p_holm for entry in found.groups] == [1.0] * 3
    assert found.heterogeneity == (0.0, 2, 1.0)
    assert found.gap_interval[0] < 0 < found.gap_interval[1]
    assert "is not shown" in found.may
    assert mcnemar(np.zeros(1), np.zeros(1)).tolist() == [1.0]


def test_the_sentence_says_who_gained():
    now, then = versions(gains=(0.0, 0.6, 0.0), images=1500)
    found = compare_versions(now, then)
    assert found.gap_interval[1] < 0
    assert "is smaller than before" in found.may
    assert "rose in g1" in found.may
    assert "is larger than before" in compare_versions(then, now).may


def test_other_images_and_single_groups_are_refused():
    now, then = versions()
    with pytest.raises(ValueError, match="judged on other images"):
        compare_versions(now[1:], then)
    with pytest.raises(ValueError, match="at least 2"):
        compare_versions(*(frame[frame["group"] == "g0"] for frame in (now, then)))


def test_the_audit_compares_versions_by_name(tmp_path):
    now, then = versions()
    settings = AuditSettings(smallest=1, draws=0)
    found = audit_groups(now, before=then, settings=settings)
    assert found.versions[0].groups == compare_versions(now, then).groups
    assert found.to_dict()["details"]["versions"][0]["groups"][0]["group"] == "g0"
    two = [pd.concat([frame, frame.assign(model="z")]) for frame in (now, then)]
    assert len(audit_groups(two[0], before=two[1], settings=settings).versions) == 2
    with pytest.raises(ValueError, match="before: expected one model"):
        audit_groups(two[0], before=then, settings=settings)
    pytest.importorskip("matplotlib")
    write_report(found, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Before and now, on the same images" in page
    assert f"{found.versions[0].groups[1].change:+.4f}" in page


def test_another_outcome_is_compared_as_well():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"image": np.arange(400), "group": np.repeat(["a", "b"], 200), "model": "m"}
    ).assign(label=rng.integers(0, 2, 400))
    now, then = (check_predictions(frame.assign(prediction=rng.integers(0, 2, 400))) for _ in "ab")
    settings = AuditSettings(smallest=1, draws=0, outcome="true-positive-rate")
    (found,) = audit_groups(now, before=then, settings=settings).versions
    rows = (now["label"] == "1") & (now["group"] == "a")
    assert found.groups[0].n == rows.sum()
    assert found.groups[0].now == pytest.approx((now["prediction"][rows] == "1").mean())


def test_several_versions_stand_in_one_table_in_their_order():
    rng = np.random.default_rng(8)
    shares = [(0.5, 0.9), (0.6, 0.9), (0.85, 0.9)]
    frames = [
        check_predictions(
            pd.DataFrame(
                [
                    ("m", f"{group}{i}", group, int(rng.random() < share))
                    for group, share in zip("ab", two, strict=True)
                    for i in range(400)
                ],
                columns=["model", "image", "group", "correct"],
            )
        )
        for two in shares
    ]
    audit = audit_groups(
        frames[2],
        before=[("first", frames[0]), ("second", frames[1])],
        names=("third", "against", "start"),
        settings=AuditSettings(draws=0),
    )
    (model,), (steps,) = zip(*drifts(audit.versions).items(), strict=True)
    rows = version_rows(steps)
    assert [row.version for row in rows] == ["first", "second", "third"]
    for row, frame in zip(rows, frames, strict=True):
        by_group = frame.groupby("group")["correct"].mean()
        assert row.overall == pytest.approx(frame["correct"].mean())
        assert (row.lowest, row.lowest_group) == (by_group.min(), by_group.idxmin())
        assert row.gap == pytest.approx(by_group.max() - by_group.min())
    assert rows[0].gap_change is None
    last = compare_versions(frames[2], frames[1])
    assert rows[2].gap_change == pytest.approx(last.gap_change)
    assert rows[2].gap_interval == pytest.approx(last.gap_interval)
    assert [row.p_holm for row in rows[1:]] == holm([step.overall.p_value for step in steps])
    assert said(drift_table(model, steps, 0.95))[2]["version"] == "third"
