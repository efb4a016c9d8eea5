"""Evaluating triplets: natural, certified and attacked scores, and that they keep their order."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.evaluation.twoafc_images import SIDE, picture, triplets

from percert import create_metric
from percert.certify.twoafc import twoafc_of_features
from percert.data.triplets import Triplet
from percert.evaluation.twoafc.attacks import AttackBudget, plan_attacks
from percert.evaluation.twoafc.evaluate import CLEAN, COLUMNS, TwoAFCRun, evaluate_twoafc, resized
from percert.evaluation.twoafc.scores import score_twoafc
from percert.images import ImageError
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.runs.certified import BrokenCertificate, check_order


def rows_of(run, some, done=frozenset()):
    return [row for step in evaluate_twoafc(run, some, done) for row in step.rows]


def thumbnail():
    return create_metric("thumbnail", device="cpu")


def radii(perturbed, count=3):
    some, load = triplets(count)
    run = TwoAFCRun(thumbnail(), perturbed=perturbed, load=load)
    return [row["radius"] for row in rows_of(run, some)]


@pytest.mark.parametrize("perturbed", ["reference", "candidates", "all"])
def test_attacks_fail_within_the_radius_and_succeed_a_little_beyond(perturbed):
    """The thumbnail is linear and nothing is clipped, so that the radius is exact."""
    some, load = triplets(3)
    for triplet, radius in zip(some, radii(perturbed), strict=True):
        plan = plan_attacks(
            ["apgd:loss=margin,steps=40"],
            l2=(0.97 * radius, 1.03 * radius),
            perturbed=perturbed,
        )
        run = TwoAFCRun(thumbnail(), plan, perturbed=perturbed, load=load)
        clean, inside, outside = rows_of(run, [triplet])
        assert clean["attack"] == CLEAN
        assert not inside["success"]
        assert outside["success"]
        assert radius <= outside["l2"] <= 1.03 * radius * (1 + 1e-5)
        assert outside["prediction"] == 1 - clean["clean_prediction"]
        assert outside["model_calls"] > 0


def test_rows_do_not_depend_on_the_batch_and_images_of_several_sizes_are_taken():
    some, load = triplets(6, sides=(SIDE, 24))
    plan = plan_attacks(["apgd-ce:steps=5", "square:queries=20"], l2=(0.2,), linf=(0.01,))
    found = [
        {
            (row["image"], row["attack"]): row
            for row in rows_of(TwoAFCRun(thumbnail(), plan, batch_size=size, load=load), some)
        }
        for size in (1, 3)
    ]
    assert len(found[0]) == 6 * 5
    assert found[0].keys() == found[1].keys()
    for key, row in found[0].items():
        assert row.keys() == COLUMNS.keys()
        for name in ("success", "l2", "distance_left", "radius", "seed", "height"):
            other = found[1][key][name]
            assert (other is None) == (row[name] is None)
            assert other is None or other == pytest.approx(row[name], rel=1e-4), (key, name)


def test_what_is_done_is_left_out():
    some, load = triplets(2)
    plan = plan_attacks(["pgd:steps=2"], l2=(0.1,))
    run = TwoAFCRun(thumbnail(), plan, load=load)
    (name,) = plan
    rows = rows_of(run, some, frozenset([("t0", CLEAN), ("t0", name), ("t1", CLEAN)]))
    assert [(row["image"], row["attack"]) for row in rows] == [("t1", name)]


def test_the_natural_score_is_the_share_that_is_right_and_wrong_ones_are_not_attacked():
    some, load = triplets(4, share=[0.0, 0.0, 0.0, 1.0])  # the second is judged wrongly
    plan = plan_attacks(["pgd:steps=1"], l2=(1e-4,))
    rows = rows_of(TwoAFCRun(thumbnail(), plan, load=load), some)
    scores = score_twoafc(rows, (0.01, 1e6))
    assert [(group.name, group.triplets, group.natural) for group in scores] == [
        *(("all", 4, 0.75), ("imagenet", 2, 1.0), ("other", 2, 0.5))
    ]
    assert [entry.ours for entry in scores[0].certified] == [0.75, 0.0]
    attacked = {row["image"] for row in rows if row["attacked"]}
    assert attacked == {"t0", "t2", "t3"}
    assert scores[0].attacked[0].worst == 0.75


def test_judges_who_do_not_agree_and_ties_count_in_part():
    some, load = triplets(2, share=[0.2, 0.5])
    same = picture(0)
    tie = Triplet("tie", *[Path("none")] * 3, 1.0)
    run = TwoAFCRun(thumbnail(), load=lambda t: (same, same, same) if t.name == "tie" else load(t))
    rows = rows_of(run, [*some, tie])
    (scores,) = score_twoafc([row for row in rows if row["image"] == "tie"], (0.1,))
    assert (scores.natural, scores.ties, scores.certified[0].ours) == (0.5, 1, 0.0)
    scores = score_twoafc(rows, (1e-3, 1e6))[0]
    assert scores.natural == pytest.approx((0.8 + 0.5 + 0.5) / 3)
    # Of the tie nothing is certified, of the others first all and then the worse choice.
    assert [entry.ours for entry in scores.certified] == pytest.approx(
        [(0.8 + 0.5 + 0) / 3, (0.2 + 0.5 + 0) / 3]
    )


def test_without_a_judgement_the_metrics_own_choice_has_to_stand():
    some, load = triplets(2, share=[None, None])
    rows = rows_of(TwoAFCRun(thumbnail(), load=load), some)
    assert [row["label"] for row in rows] == [0, 1]
    assert score_twoafc(rows, (0.01,))[0].natural == 1


def test_a_success_counts_for_every_budget_that_holds_it_whoever_found_it():
    some, load = triplets(2)
    least, most = sorted(radii("reference", 2))
    inner, outer = (float(f"{eps:.3g}") for eps in (0.5 * least, 1.1 * most))
    plan = plan_attacks(["fab:steps=20", "apgd-ce:steps=40"], l2=(inner, outer))
    run = TwoAFCRun(thumbnail(), plan, load=load)
    rows = rows_of(run, some)
    budgets = [AttackBudget("l2", inner), AttackBudget("l2", outer), AttackBudget("linf", 0.1)]
    (scores, *_) = score_twoafc(rows, (), budgets=budgets)
    inside, outside = scores.attacked
    assert (inside.worst, inside.certified) == (1, 1)
    assert (outside.worst, outside.certified) == (0, 0)
    assert list(outside.by_attack) == ["fab:steps=20,norm=l2", list(plan)[2]]


def test_the_paper_s_radius_is_there_with_its_constant_and_never_above_the_exact_one():
    some, load = triplets(6)
    plain = thumbnail()
    metric = EmbeddingMetric(plain.network, plain.resize, constant=1.0, name="with a constant")
    rows = rows_of(TwoAFCRun(metric, load=load), some)
    assert all(row["radius"] >= row["radius_paper"] > 0 for row in rows)
    between = (rows[0]["radius"] + rows[0]["radius_paper"]) / 2
    (certified,) = score_twoafc(rows[:1], (between,))[0].certified
    assert (certified.paper, certified.ours) == (0, 1)


def test_a_metric_without_a_proof_is_attacked_all_the_same():
    some, load = triplets(2, sides=(24,))
    plan = plan_attacks(["apgd-margin:steps=20"], l2=(4.0,))
    rows = rows_of(TwoAFCRun(create_metric("ssim", device="cpu"), plan, load=load), some)
    scores = score_twoafc(rows, (0.1,))[0]
    assert scores.natural == 1
    assert scores.certified[0].ours is None
    assert scores.attacked[0].worst < 1
    assert all(row["radius"] is None and row["ssim"] > 0 for row in rows if row["attacked"])


def test_a_broken_certificate_stops_the_run(monkeypatch):
    def boastful(*features, perturbed):
        proven = twoafc_of_features(*features, perturbed=perturbed)
        return dataclasses.replace(proven, radius=1.5 * proven.radius)

    monkeypatch.setattr("percert.evaluation.twoafc.evaluate.twoafc_of_features", boastful)
    some, load = triplets(1)
    (radius,) = radii("reference", 1)
    plan = plan_attacks(["apgd-margin:steps=40"], l2=(0.8 * radius,))  # 1.2 of the true one
    with pytest.raises(BrokenCertificate, match=r"triplet t0: certified up to l2 = .* turned it"):
        rows_of(TwoAFCRun(thumbnail(), plan, load=load), some)


def test_a_certificate_for_another_choice_stops_the_run(monkeypatch):
    def wrong(*features, perturbed):
        proven = twoafc_of_features(*features, perturbed=perturbed)
        return dataclasses.replace(proven, decision=1 - proven.decision)

    monkeypatch.setattr("percert.evaluation.twoafc.evaluate.twoafc_of_features", wrong)
    some, load = triplets(1)
    with pytest.raises(BrokenCertificate, match="the certificate is for the choice 1"):
        rows_of(TwoAFCRun(thumbnail(), load=load), some)


def test_the_order_of_the_scores_is_held_to():
    check_order("t", "l2 1", 1.0, {"pgd": 0.0}, 0.0)
    with pytest.raises(BrokenCertificate, match="found 1, 0 under pgd, 1"):
        check_order("t", "l2 1", 1.0, {"pgd": 0.0}, 1.0)
    some, load = triplets(1)
    rows = rows_of(
        TwoAFCRun(thumbnail(), plan_attacks(["pgd:steps=1"], l2=(1.0,)), load=load), some
    )
    forged = [{**row, "success": row["attacked"], "l2": 1e-3, "radius": 2.0} for row in rows]
    with pytest.raises(BrokenCertificate, match="expected certified <= empirical <= natural"):
        score_twoafc(forged, ())


def test_a_linf_budget_is_certified_by_the_ball_around_it():
    some, load = triplets(1)
    (radius,) = radii("reference", 1)
    for factor, certified in ((0.99, 1.0), (1.01, 0.0)):
        eps = factor * radius / (3 * SIDE * SIDE) ** 0.5
        plan = plan_attacks(["pgd:steps=1"], linf=(eps,))
        rows = rows_of(TwoAFCRun(thumbnail(), plan, load=load), some)
        assert score_twoafc(rows, ())[0].attacked[0].certified == certified


def test_bad_files_are_told_and_the_rest_goes_on():
    some, load = triplets(2)

    def reading(triplet):
        if triplet.name == "t0":
            raise ImageError("t0.png", "no such file")
        return load(triplet)

    steps = list(evaluate_twoafc(TwoAFCRun(thumbnail(), load=reading), some))
    assert [(step.bad, step.reason) for step in steps if step.bad] == [
        ("t0", "t0.png: no such file")
    ]
    assert [row["image"] for step in steps for row in step.rows] == ["t1"]


def test_images_are_resized_and_rounded_to_8_bits():
    some, load = triplets(1)
    plan = plan_attacks(["pgd:steps=1"], l2=(0.1,))
    clean, attacked = rows_of(TwoAFCRun(thumbnail(), plan, size=(12, 12), load=load), some)
    assert (clean["height"], clean["width"]) == (12, 12)
    smaller = resized(picture(0), (12, 12))
    assert torch.equal((255 * smaller).round() / 255, smaller)
    assert attacked["l2"] <= 0.1 * (1 + 1e-5)


def test_what_does_not_fit_into_memory_is_attacked_in_halves(monkeypatch):
    some, load = triplets(3)
    plan = plan_attacks(["pgd:steps=3"], l2=(0.2,))
    whole = rows_of(TwoAFCRun(thumbnail(), plan, load=load), some)
    (name,) = plan

    def scarce(model, images, goal, **more):
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return plan[name].attack(model, images, goal, **more)

    small = {name: dataclasses.replace(plan[name], attack=scarce)}
    halved = rows_of(TwoAFCRun(thumbnail(), small, load=load), some)
    for row, other in zip(whole, halved, strict=True):
        assert row["distance_left"] == pytest.approx(other["distance_left"], rel=1e-4)
