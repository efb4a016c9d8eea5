"""The ablation compares what it says: same data, same passes, one change a line; and its scores."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.conditions import Conditions
from experiments.triplets.lipsim_ablation import (
    BUDGETS,
    AblationResult,
    ArmResult,
    Scores,
    answers,
    arms,
    run_arm,
    score,
    table,
)
from percert.metrics.catalog import create_metric
from percert.training.student import new_student, save_model


def test_every_arm_sees_the_same_images_equally_often():
    chosen = arms(7, scales=(1.0, 100.0))
    assert len({(a.first.data, a.first.seed, a.first.schedule.batch) for a in chosen}) == 1
    assert len({(a.second.data, a.second.seed, a.second.schedule.batch) for a in chosen}) == 1
    assert {a.first.schedule.steps for a in chosen} == {7}
    assert {a.second.schedule.steps for a in chosen} == {7}
    assert [a.first.teacher.scale for a in chosen[-2:]] == [1.0, 100.0]
    assert len({a.name for a in chosen}) == len(chosen)
    # Arms that share a distillation are distilled alike, whichever of them comes first.
    assert len({repr(a.first) for a in chosen}) == len({a.distillation for a in chosen})


def test_each_line_adds_one_change_to_the_line_above():
    named = {a.name: a for a in arms(7)}
    assert named["radius"] == replace(
        named["paper"], name="radius", change=named["radius"].change, radius="ours"
    )
    assert named["loss"].first == named["radius"].first
    assert named["loss"].second.loss != named["radius"].second.loss
    assert named["scale"].first.student == named["loss"].first.student
    assert named["scale"].second == named["layer"].second == named["loss"].second
    assert named["layer"].first == replace(
        named["scale"].first, student=named["layer"].first.student
    )
    assert named["flip"] == replace(
        named["scale"],
        name="flip",
        change=named["flip"].change,
        distillation="flip",
        first=replace(
            named["scale"].first, student=replace(named["scale"].first.student, flip_concat=True)
        ),
    )
    assert named["relational"].second == named["layer"].second
    assert named["relational"].first.losses == replace(
        named["layer"].first.losses, relational=named["ours"].first.losses.relational
    )
    assert named["relational"].first.schedule == named["layer"].first.schedule
    for before, after in zip(
        (named["relational"].first, named["relational"].second),
        (named["ours"].first, named["ours"].second),
        strict=True,
    ):
        assert replace(after, schedule=replace(after.schedule, average=0.0), name="") == replace(
            before, name=""
        )
        assert after.schedule.average > 0
    for name in ("authors", "paper"):
        assert named[name].first.student.constant == 1.0
        assert named[name].second.loss.margin == 0.5
    theirs, text = named["authors"].first, named["paper"].first
    assert replace(theirs, name="", losses=text.losses, jitter=text.jitter) == replace(
        text, name=""
    )
    assert (theirs.losses.standard, theirs.losses.jittered, theirs.losses.between) == (0.5, 0.5, 0)
    assert theirs.losses.kind == "rmse"
    assert (theirs.jitter.chance, theirs.jitter.saturation, theirs.jitter.grey) == (0.8, 0.2, 0.2)


def test_scores_never_rise_with_the_budget_and_end_below_the_natural_one():
    metric = create_metric("thumbnail", device="cpu")
    reference = torch.rand(70, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    near = (reference + 0.05).clamp(0, 1) * 0.98
    ours = answers(metric, (reference, near, reference.flip(0)), "ours")
    found = score(*ours)
    paper = score(*answers(metric, (reference, near, reference.flip(0)), "paper"))
    assert found.triplets == 70
    assert found.natural == pytest.approx(1.0)
    curve = [found.natural, *found.certified]
    assert curve == sorted(curve, reverse=True)
    assert found.certified[0] > 0
    assert all(a <= b for a, b in zip(paper.certified, found.certified, strict=True))
    own = score(*ours, 0.5)
    assert own.natural == found.natural
    assert own.certified[4:7] == found.certified[3:6]  # 2, 4, 8 there are 1, 2, 4 here
    assert own.certified != found.certified
    swapped = score(*answers(metric, (reference, reference.flip(0), near), "ours"))
    assert swapped.natural == 0


def test_the_page_states_its_scale_and_has_a_line_an_arm():
    scores = Scores(240, 0.9, [0.5] * len(BUDGETS))
    arm = ArmResult("ours", "averaged weights", "ours", scores, scores, scores, 10.0, 12.5)
    where = Conditions("commit", {}, "machine", 1, 0)
    result = AblationResult("x", 64, list(BUDGETS), 200, 40, 3200, 20, [arm], where)
    page = table(result)
    assert "small scale" in page
    assert "3,200 images" in page
    assert "**Not run yet**: `authors`" in page
    assert page.count("| ours | averaged weights | 90.0 | 50.0 |") == 3
    assert "targets of norm s" not in page


def test_the_sweep_is_a_table_of_its_own_in_the_order_of_s():
    scores = Scores(240, 0.9, [0.5] * len(BUDGETS))
    found = [
        ArmResult(name, "change", "ours", scores, scores, scores, scale, 12.5)
        for name, scale in (
            ("flip", 10.0),
            ("ours", 10.0),
            ("s = 100", 100.0),
            ("s = 1", 1.0),
        )
    ]
    where = Conditions("commit", {}, "machine", 1, 0)
    page = table(AblationResult("x", 64, list(BUDGETS), 200, 40, 3200, 20, found, where))
    first, swept = page.split("Ours with targets of norm s:")[:2]
    assert "| flip | change |" in first
    assert "s = 1" not in first
    lines = [line for line in swept.splitlines() if line.startswith("| 1")]
    assert [line.split("|")[1].strip() for line in lines] == ["1", "10", "100"]


def test_a_finished_arm_of_another_length_is_not_taken_for_this_one(tmp_path: Path):
    new_run = arms(7)[0]
    student = new_student(new_run.first.student, "x", 0)
    save_model(student.network, new_run.first.student, "x", tmp_path / "code", {"steps": 40})
    with pytest.raises(ValueError, match="was trained for 40 steps, not 7"):
        run_arm(new_run, tmp_path, tmp_path, ())
