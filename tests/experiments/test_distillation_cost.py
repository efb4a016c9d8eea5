"""What a recipe takes: what is counted against sums by hand, and the page's arithmetic."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.conditions import Conditions, conditions
from experiments.speed import distillation
from experiments.speed.distillation import DistillationCost, Pass, count_flop, saved_bytes
from percert.training.distillation import read_distill_recipe


def test_operations_are_two_a_weight_and_four_more_with_the_gradient():
    layer, x = nn.Linear(30, 20, bias=False), torch.rand(5, 30, requires_grad=True)
    assert count_flop(lambda: layer(x)) == 2 * 5 * 30 * 20
    assert count_flop(lambda: layer(x).sum().backward()) == 3 * 2 * 5 * 30 * 20


def test_what_is_kept_for_the_gradient_is_counted_once_and_without_weights():
    layer = nn.Sequential(nn.Linear(30, 20, bias=False), nn.Tanh(), nn.Linear(20, 10, bias=False))
    x = torch.rand(5, 30)
    # The input of the first layer, and the output of tanh, which two layers keep.
    assert saved_bytes(lambda: layer(x), layer) == 4 * (5 * 30 + 5 * 20)


def test_a_student_is_measured_by_the_image():
    recipe = read_distill_recipe(distillation.RECIPE)
    small = replace(recipe.student.lipsim, depth=1, channels=8, dense_depth=1, dense_inner=16)
    small = replace(small, embedding=24, side=32)
    recipe = replace(
        recipe,
        student=replace(recipe.student, lipsim=small),
        data=replace(recipe.data, side=32),
    )
    one, parameters, kept = distillation.student_pass(recipe, 1, 1)
    two, same, twice = distillation.student_pass(recipe, 2, 1)
    assert parameters == same > 0
    assert 0 < two.timed_flop < one.timed_flop  # what is done to the weights is shared by a batch
    assert 0 < two.flop == one.flop < two.timed_flop
    assert one.seconds > 0
    assert twice == pytest.approx(kept, rel=0.5)


def test_the_page_multiplies_what_was_measured():
    cost = DistillationCost(
        "distillation-cost", "mine.toml", 1000, 50, 10, 4, 2.0, Pass(3e12, 6e12, 8.0),
        Pass(5e11, 5e11, 1.5),
        0.01, 4_000_000_000, 100_000_000, conditions(0),
    )  # fmt: skip
    assert (cost.passes, cost.taught) == (2000, 2000)
    assert replace(cost, images=300).taught == 600
    found = dict(distillation.totals(cost))
    hours = (2000 * 3e12 + 2000 * 5e11) / 2e12 / 3600
    assert found["hours of one GPU at 2 TFLOP/s"] == f"{hours:.0f}" == "1"
    assert found["operations"] == "6.0e+15 of the student, 1.0e+15 of the teacher"
    assert found["one core of this machine instead"] == "0 days"
    assert found["memory of a GPU, at most"].startswith("5.0 GB")
    assert found["disk, a checkpoint"] == "3.00 GB"
    page = distillation.report(cost)
    assert "| the student, both views, with the gradient | 3000.0 | 4.00 |" in page
    assert "50 steps of 4 x 10 images" in page


def test_the_teachers_networks_have_the_size_of_a_vit_b():
    network = distillation.ViT(16)
    parameters = sum(one.numel() for one in network.parameters())
    # 86.6 million with what embeds places and classifies, 768 x 197 + 2 x 768 + 1000 x 769 of it.
    assert parameters == pytest.approx(86_567_656 - 768 * 198 - 2 * 768 - 1000 * 769, abs=1000)
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 768)
        # A photograph of 224 px is 17.6 billion multiply-adds, as the paper's followers print.
        meta = distillation.ViT(16).to("meta")
        flop = count_flop(lambda: meta(torch.rand(1, 3, 224, 224, device="meta")))
    assert flop / 2e9 == pytest.approx(17.6, rel=0.02)


def test_the_published_page_is_of_what_was_measured():
    path = Path(__file__).resolve().parents[2] / "docs" / "results" / "distillation-cost.json"
    found = json.loads(path.read_text("utf-8"))
    found |= {name: Pass(**found[name]) for name in ("student", "teacher")}
    cost = DistillationCost(**found | {"conditions": Conditions(**found["conditions"])})
    assert path.with_suffix(".md").read_text("utf-8") == distillation.report(cost)
