"""Metrics beside people's answers: the statistics against scipy and by hand, scopes, resuming."""

import json

import numpy as np
import pytest
import torch
from tests.data.test_night import night
from tests.evaluation.twoafc_images import picture

from percert.evaluation.people.agreement import (
    Estimate,
    auc,
    clusters,
    credits_of,
    estimate,
    kendall,
    logistic_fit,
    pearson,
    rmse,
    spearman,
)
from percert.evaluation.people.answers import find_answers
from percert.evaluation.people.run import PeopleSettings, run_people
from percert.images import load_image, save_image
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports import read_records

stats = pytest.importorskip("scipy.stats", reason="needs the extra 'people'")
pytest.importorskip("pyarrow", reason="needs the extra 'people'")
pytest.importorskip("jinja2", reason="needs the extra 'people'")
pytest.importorskip("matplotlib", reason="needs the extra 'people'")


def test_correlations_are_those_of_scipy_ties_included():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 40).astype(float)
    y = x + rng.integers(0, 9, 40)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
def test_the_logistic_fit_finds_the_curve_on_any_scale_and_keeps_the_order(scale):
    x = np.random.default_rng(1).gamma(1.0, 1.0, 60)
    y = 0.08 + 0.9 / (1 + np.exp(-(x - 1.2) / 0.15))
    assert np.abs(logistic_fit(scale * x, y) - y).max() < 1e-4
    fitted = logistic_fit(scale * x, y + np.random.default_rng(2).normal(0, 0.2, 60))
    assert (np.diff(fitted[np.argsort(x)]) >= -1e-12).all()


def test_too_few_distances_are_not_met_exactly():
    x, y = np.array([1.0, 2.0, 3.0, 3.0]), np.array([0.1, 0.9, 0.2, 0.4])
    assert logistic_fit(x, y) == pytest.approx(np.polyval(np.polyfit(x, y, 1), x))
    assert np.isnan(rmse(x[:2], x[:2]))


def test_of_one_picture_there_is_no_interval():
    assert estimate(lambda i: float(i.mean()), clusters(["a", "a"])) == Estimate(0.5, None, None)


def test_a_metric_that_falls_where_people_see_more_has_a_negative_pearson(study, tmp_path):
    score = "".join(f"{i}.png,{i}-much.png,{i + 1}\n" for i in range(6))
    correlations = []
    for better in ("dmos", "mos"):
        path = study.parent / f"{better}.csv"
        path.write_text(f"reference,changed,{better}\n{score}")
        found = run_people(settings(path), {"l2": None}, tmp_path / better)
        (one,) = found.answer["agreement"]
        correlations.append((one["found"]["Spearman"]["value"], one["found"]["Pearson"]["value"]))
    (up, high), (down, low) = correlations
    assert (up, down) == pytest.approx((1, -1))
    assert high > 0.95
    assert low == pytest.approx(-high, abs=0.01)


def test_auc_is_the_share_of_ordered_pairs_of_answers():
    distances, said, observers = [0.1, 0.2, 0.2, 0.5], [1, 2, 4, 5], [6, 5, 5, 6]
    seen = [d for d, s in zip(distances, said, strict=True) for _ in range(s)]
    unseen = [d for d, s, n in zip(distances, said, observers, strict=True) for _ in range(n - s)]
    by_hand = np.mean([(a > b) + 0.5 * (a == b) for a in seen for b in unseen])
    said = np.array(said, float)
    assert auc(np.array(distances), said, np.array(observers) - said) == pytest.approx(by_hand)


def test_triplets_count_for_the_share_who_agree():
    left, right = np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0, 1.0])
    assert credits_of(left, right, np.array([0.25, 0.25, 0.9])).tolist() == [0.75, 0.25, 0.5]


def test_intervals_draw_whole_pictures():
    """Ten copies of each answer say nothing more: the interval is that of the pictures."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=30)
    once = estimate(lambda i: float(values[i].mean()), clusters([str(i) for i in range(30)]))
    tenfold = np.repeat(values, 10)
    pictures = [str(i) for i in range(30) for _ in range(10)]
    again = estimate(lambda i: float(tenfold[i].mean()), clusters(pictures))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    standard_error = values.std() / np.sqrt(30)
    assert (once.high - once.low) / (2 * 1.96 * standard_error) == pytest.approx(1, abs=0.15)


@pytest.fixture
def study(tmp_path):
    """Six pictures, each unchanged under another name, and changed little and much."""
    folder = tmp_path / "study"
    folder.mkdir()
    rows = ["original,changed,attack,observers,said_different"]
    for i in range(6):
        reference = picture(i)
        noise = torch.rand(reference.shape, generator=torch.Generator().manual_seed(i)) - 0.5
        save_image(reference, folder / f"{i}.png")
        save_image(reference, folder / f"{i}-same.png")
        for name, size in (("little", 0.05), ("much", 0.1 + 0.1 * i)):
            save_image((reference + size * noise).clamp(0, 1), folder / f"{i}-{name}.png")
        rows += [
            f"{i}-same.png,{i}.png,none,10,1",
            f"{i}.png,{i}-little.png,little,10,{2 + i % 2}",
            f"{i}.png,{i}-much.png,much,10,{4 + i}",
        ]
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder / "pairs.csv"


def settings(path, **more):
    return PeopleSettings(source="study", answers=find_answers(path), draws=50, **more)


def test_a_study_is_scored_by_scope_and_metrics_are_added(study, tmp_path):
    out = tmp_path / "out"
    run_people(settings(study), {"l2": None}, out)
    before = read_records(out / "records.parquet")
    result = run_people(settings(study), {"l2": None, "linf": None}, out)
    rows = read_records(out / "records.parquet")
    assert [row for row in rows if row in before] == before  # kept, not made anew
    assert {row["metric"] for row in rows} == {"(equal)", "l2", "linf"}
    found = {(one["metric"], one["scope"]): one for one in result.answer["agreement"]}
    scopes = {"all": (18, 6), "changed": (12, 6), "little": (6, 6), "much": (6, 6)}
    for scope, counted in scopes.items():
        one = found["l2", scope]
        assert (one["answers"], one["pictures"]) == counted
    much = found["l2", "much"]["found"]
    assert much["Spearman"]["value"] == pytest.approx(1)
    assert much["Kendall"]["value"] == pytest.approx(1)
    assert found["l2", "all"]["found"]["AUC of seen by most"]["value"] == pytest.approx(1)
    ceiling = next(one for one in result.answer["ceilings"] if one["scope"] == "all")
    assert found["l2", "all"]["found"]["AUC of answers"]["value"] <= ceiling["value"]
    assert json.loads((out / "agreement.json").read_text()) == result.answer
    report = (out / "report.html").read_text()
    assert "share of every answer" in report
    assert "What people said of 18 pairs of pictures: whether they differ." in report


def test_a_metric_of_embeddings_sees_each_picture_once(study, tmp_path, monkeypatch):
    seen = []
    embed = EmbeddingMetric.embed

    def counted(metric, images):
        seen.append(len(images))
        return embed(metric, images)

    monkeypatch.setattr(EmbeddingMetric, "embed", counted)
    monkeypatch.setattr(EmbeddingMetric, "forward", None)
    run_people(settings(study, batch_size=4), {"thumbnail": None}, tmp_path / "out")
    assert sum(seen) == 24  # six of four kinds, in 18 pairs
    rows = read_records(tmp_path / "out" / "records.parquet")
    found = {row["pair"]: row["distance"] for row in rows if row["metric"] == "thumbnail"}
    monkeypatch.undo()
    metric = create_metric("thumbnail", device="cpu")
    for pair, distance in found.items():
        first, second = (load_image(path)[None] for path in pair.split(" | "))
        assert distance == pytest.approx(metric(first, second).item(), abs=1e-12)


def test_scores_and_triplets_have_statistics_of_their_own(study, tmp_path):
    folder = study.parent
    scores = folder / "scores.csv"
    scores.write_text(
        "reference,changed,dmos\n" + "".join(f"{i}.png,{i}-much.png,{i + 1}\n" for i in range(6))
    )
    result = run_people(settings(scores), {"l2": None}, tmp_path / "scores")
    (one,) = result.answer["agreement"]
    assert list(one["found"]) == ["Spearman", "Kendall", "Pearson", "RMSE"]
    assert one["found"]["Spearman"]["value"] == pytest.approx(1)
    triplets = folder / "triplets.csv"
    triplets.write_text(
        "reference,left,right,votes_left,votes_right\n"
        + "".join(f"{i}.png,{i}-little.png,{i}-much.png,{3 - i % 3},{i % 3}\n" for i in range(6))
    )
    asked = settings(triplets, eps=(0.001,))
    result = run_people(asked, {"thumbnail": None}, tmp_path / "triplets")
    (one,) = result.answer["agreement"]
    # The lesser change is closer; of three judges 3, 2 and 1 say so, twice each.
    assert one["found"]["2AFC"]["value"] == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    assert one["found"]["majority"]["value"] == pytest.approx(2 / 3)
    assert result.answer["ceilings"][0]["value"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    (entry,) = result.answer["twoafc"]["metrics"]
    assert entry["scores"][0]["natural"] == pytest.approx(one["found"]["2AFC"]["value"])


def test_what_cannot_be_compared_is_told_once_and_left_out(study, tmp_path):
    with study.open("a") as file:
        file.write("0.png,gone.png,much,10,9\n")
    result = run_people(settings(study), {"l2": None, "linf": None}, tmp_path / "out")
    ((name, reason),) = result.bad
    assert "gone.png" in name
    assert "no such file" in reason
    found = next(one for one in result.answer["agreement"] if one["scope"] == "all")
    assert found["answers"] == 18
    study.write_text("reference,changed,dmos\n0.png,gone.png,4\n")
    with pytest.raises(ValueError, match=r"by every metric; .*gone.png: .*no such file"):
        run_people(settings(study), {"l2": None}, tmp_path / "none")


def test_pairs_have_no_budgets(study, tmp_path):
    with pytest.raises(ValueError, match="expected triplets, found noticed pairs"):
        run_people(settings(study, eps=(0.1,)), {"l2": None}, tmp_path / "out")


def test_what_is_no_answer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        find_answers(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"expected .* NIGHT .* BAPPS .* found none"):
        find_answers(tmp_path)
    silent = tmp_path / "t.csv"
    silent.write_text("reference,left,right\na.png,b.png,c.png\n")
    with pytest.raises(ValueError, match="expected people's answers, found none"):
        find_answers(silent)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("a,b,c", "expected columns reference,changed,observers,said_different, or .* found a, b"),
        ("reference,changed,said", "expected columns .*votes_right; found reference, changed"),
        ("reference,changed,people,said_different", "expected a column observers, found"),
        ("reference,changed,observers", "expected a column said_different, found"),
        ("reference,picture,mos", "expected a column changed, found"),
        ("reference,Left,rigth,score", "expected a column right, found"),
    ],
)
def test_a_file_of_another_kind_is_told_what_its_own_kind_lacks(tmp_path, columns, message):
    path = tmp_path / "t.csv"
    path.write_text(f"{columns}\n" + ",".join("1" for _ in columns.split(",")) + "\n")
    with pytest.raises(ValueError, match=message):
        find_answers(path)


def test_triplets_may_have_a_score_beside_their_votes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Reference,Left,Right,Score,Choice\na.png,b.png,c.png,7,right\n")
    found = find_answers(path)
    assert (found.kind, found.judged[0].share) == ("triplets", 1.0)


def test_night_has_answers_of_both_kinds(tmp_path):
    night(tmp_path, [(0, 1, 0, 6, "cat", "test", True), (1, 0, 1, 6, "cat", "test", True)])
    (tmp_path / "jnd_votes.csv").write_text("id,left_same,right_same\n0,0.75,0.25\n1,0.5,1\n")
    votes = find_answers(tmp_path, "night-jnd")
    assert [one.seen for one in votes.judged] == [0.25, 0.75, 0.5, 0.0]
    triplets = find_answers(tmp_path, limit=1)
    assert [(one.name, one.share) for one in triplets.judged] == [("0", 0.0)]
