"""LPA: inside its bound, and able to use what the bound leaves it."""

import pytest
import torch

from percert.attacks import LPA, MetricBall, Targeted, Untargeted, judge
from percert.attacks.run import CountedModel
from percert.attacks.transport.cost import FeatureDistance, SquaredL2
from percert.images import round_to_8bit
from percert.tensors import l2_norm

from .small_network import SmallNetwork, clear_images

SLOPE = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))


def halfspace(images):
    """Two logits with their boundary at an l2 distance of 0.2 from mid-grey."""
    gap = 10 * (((images - 0.5) * SLOPE / SLOPE.norm()).sum((1, 2, 3)) - 0.2)
    return torch.stack([-gap, gap], 1) / 2


@pytest.mark.parametrize(("bound", "expected"), [(0.195, False), (0.21, True), (1.0, True)])
def test_it_succeeds_just_where_it_can(bound, expected):
    grey = torch.full((2, 3, 4, 4), 0.5)
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    attack = LPA(metric=SquaredL2(), bound=bound)
    moved = attack(halfspace, grey, goal, seeds=torch.arange(2))
    verdict = judge(halfspace, grey, moved, goal, threat=MetricBall(SquaredL2(), bound**2))
    assert verdict.within_threat.all()
    assert (verdict.success == expected).all()


@pytest.mark.parametrize("bound", [0.05, 0.5])
@pytest.mark.parametrize("projection", ["newton", "bisection"])
def test_what_it_returns_is_inside_its_bound(bound, projection):
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    attack = LPA(bound=bound, rounds=3, steps=10, projection=projection)
    moved = attack(model, images, Untargeted(labels), seeds=torch.arange(4))
    verdict = judge(
        model,
        images,
        moved,
        Untargeted(labels),
        threat=MetricBall(FeatureDistance(model.layers), bound**2),
    )
    assert verdict.within_threat.all()
    if bound == 0.5:
        assert verdict.success.all()


def test_one_penalty_after_the_other_brings_it_back_inside():
    """With a weak multiplier the first round ends outside; only ten times ten times it will do."""
    grey = torch.full((1, 3, 4, 4), 0.5)
    goal = Untargeted(torch.tensor([0]), confidence=0.15)
    reached = []
    for rounds in (1, 8):
        attack = LPA(metric=SquaredL2(), bound=0.22, rounds=rounds, steps=15, multiplier=1e-4)
        moved = attack(halfspace, grey, goal)
        reached.append(judge(halfspace, grey, moved, goal).achieved.item())
    assert reached == [False, True]


def test_images_that_are_there_leave_the_batch():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    counted = CountedModel(model)
    LPA(metric="squared-l2", bound=3.0)(counted, images, Untargeted(labels))
    assert counted.calls < 4 * 40


def test_rescaling_shrinks_what_it_found_to_8_bits():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    images = round_to_8bit(images)
    goal = Targeted((labels + 1) % 5)
    whole, least = (LPA(bound=1.0, rescale_steps=steps)(model, images, goal) for steps in (0, 8))
    assert torch.equal(least, round_to_8bit(least))
    assert (goal.margin(model(least)) > 0).all()
    assert (l2_norm(least - images) < 0.9 * l2_norm(whole - images)).all()


def test_rescaling_does_not_grow_a_failure_out_of_its_bound():
    """A target out of reach at this bound; some multiple of the change would get there."""
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    goal = Targeted((labels + 1) % 5)
    moved = LPA(bound=0.01, metric="squared-l2", steps=5, rescale_steps=8)(model, images, goal)
    assert not (goal.margin(model(moved)) > 0).any()
    assert (l2_norm(moved - images) <= 0.01 * (1 + 1e-4)).all()


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="bound"):
        LPA(bound=float("nan"))
    with pytest.raises(ValueError, match="projection"):
        LPA(projection="none")
