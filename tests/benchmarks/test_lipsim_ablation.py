"""The ablation compares what it says: same data, same passes, one change a line; and its scores."""

from dataclasses import replace

import pytest
import torch
from benchmarks.conditions import Conditions
from benchmarks.lipsim_ablation import (
    BUDGETS,
    AblationResult,
    ArmResult,
    Scores,
    arms,
    score,
    table,
)

from percert.metrics.catalog import create_metric


def test_every_arm_sees_the_same_images_equally_often():
    chosen = arms(7, scales=(1.0, 100.0))
    assert len({(a.first.data, a.first.seed, a.first.schedule.batch) for a in chosen}) == 1
    assert len({(a.second.data, a.second.seed, a.second.schedule.batch) for a in chosen}) == 1
    assert {a.first.schedule.steps for a in chosen} == {7}
    assert {a.second.schedule.steps for a in chosen} == {7}
    assert [a.first.teacher.scale for a in chosen[-2:]] == [1.0, 100.0]
    assert len({a.name for a in chosen}) == len(chosen)


def test_each_line_adds_one_change_to_the_line_above():
    named = {a.name: a for a in arms(7)}
    assert named["radius"] == replace(
        named["authors"], name="radius", change=named["radius"].change, radius="ours"
    )
    assert named["loss"].first == named["radius"].first
    assert named["loss"].second.loss != named["radius"].second.loss
    assert named["scale"].first.student == named["loss"].first.student
    assert named["scale"].second == named["layer"].second == named["loss"].second
    assert named["layer"].first == replace(
        named["scale"].first, student=named["layer"].first.student
    )
    assert named["authors"].first.student.constant == 1.0
    assert named["authors"].second.loss.margin == 0.5


def test_scores_never_rise_with_the_budget_and_end_below_the_natural_one():
    metric = create_metric("thumbnail", device="cpu")
    reference = torch.rand(70, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    near = (reference + 0.05).clamp(0, 1) * 0.98
    found = score(metric, (reference, near, reference.flip(0)), "ours")
    paper = score(metric, (reference, near, reference.flip(0)), "paper")
    assert found.triplets == 70
    assert found.natural == pytest.approx(1.0)
    curve = [found.natural, *found.certified]
    assert curve == sorted(curve, reverse=True)
    assert found.certified[0] > 0
    assert all(a <= b for a, b in zip(paper.certified, found.certified, strict=True))
    swapped = score(metric, (reference, reference.flip(0), near), "ours")
    assert swapped.natural == 0


def test_the_page_states_its_scale_and_has_a_line_an_arm():
    scores = Scores(240, 0.9, [0.5] * len(BUDGETS))
    arm = ArmResult("ours", "averaged weights", "ours", scores, scores, 12.5, 3.0)
    where = Conditions("commit", {}, "machine", 1, 0)
    result = AblationResult("x", 64, list(BUDGETS), 200, 40, 3200, 20, [arm], where)
    page = table(result)
    assert "small scale" in page
    assert "3,200 images" in page
    assert "**Not run yet**: `authors`" in page
    assert page.count("| ours | averaged weights | 90.0 | 50.0 |") == 2
