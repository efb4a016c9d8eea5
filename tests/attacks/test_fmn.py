"""FMN against closed forms and against foolbox's, in three norms."""

import pytest
import torch

from experiments.attacks.closed_form import courses, run
from percert.attacks import MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.goal_through import clearly
from percert.attacks.minimal.ddn import FMN
from percert.attacks.threat import length
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import Thumbnail

from .small_network import SmallNetwork, clear_images


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("course", courses(8), ids=lambda course: course.name)
def test_its_distance_is_the_closed_form(course, norm):
    if norm not in course.nearest:
        pytest.skip("no closed form for a ball in this norm")
    ran = run(f"fmn:norm={norm},rescale_steps=0", norm, course)
    assert ran.success == 1
    assert ran.max_ratio < 1.05
    assert ran.mean_ratio >= 1


@pytest.mark.parametrize(("norm", "name"), [("l1", "L1FMNAttack"), ("linf", "LInfFMNAttack")])
def test_it_is_as_near_as_foolbox_is(norm, name):
    pytest.importorskip("foolbox")
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    ours = FMN(norm=norm, steps=60, rescale_steps=0)
    theirs = create_attack("foolbox", attack=name, steps=60)
    distances = [
        length(attack(model, images, Untargeted(labels)) - images, norm)
        for attack in (ours, theirs)
    ]
    torch.testing.assert_close(*distances, rtol=0.03, atol=0)


def test_each_norm_is_least_where_it_was_asked_for():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    norms = ("l1", "l2", "linf")
    moved = {
        norm: FMN(norm=norm, rescale_steps=0)(model, images, Untargeted(labels)) for norm in norms
    }
    for norm in norms:
        sizes = {other: length(moved[other] - images, norm).mean() for other in norms}
        assert min(sizes, key=sizes.__getitem__) == norm


def test_rescaling_leaves_8_bits_that_still_succeed():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    images = round_to_8bit(images)
    moved = FMN()(model, images, Untargeted(labels))
    assert torch.equal(moved, round_to_8bit(moved))
    assert (model(moved).argmax(1) != labels).all()


def test_towards_a_target_it_ends_at_the_target():
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    target = (labels + 1) % 5
    moved = FMN()(model, images, Targeted(target))
    assert torch.equal(model(moved).argmax(1), target)


def test_a_success_is_one_in_every_batch():
    """The nearest success is clear of rounding: alone, and among others in another order."""
    model = SmallNetwork()
    images, labels = clear_images(model, 6)
    goal = Untargeted(labels)
    moved = FMN(rescale_steps=0)(model, images, goal)
    clear = clearly(goal)
    assert (clear.margin(model(moved)) > -1e-6).all()
    for row in range(6):
        assert (goal.select(torch.tensor([row])).margin(model(moved[row : row + 1])) > 0).all()
    order = torch.randperm(6)
    assert (goal.select(order).margin(model(moved[order])) > 0).all()


def test_what_cannot_be_reached_or_makes_no_sense_is_named():
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="beyond"):
        FMN()(Thumbnail(8), images, MoveEmbedding(images))
    with pytest.raises(ValueError, match="norm"):
        FMN(norm="l0")
    with pytest.raises(ValueError, match="gamma"):
        FMN(gamma=0.0)
