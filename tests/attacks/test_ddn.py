"""DDN against closed forms and against foolbox's."""

import pytest
import torch

from experiments.attacks.closed_form import courses, run
from percert.attacks import MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.minimal.ddn import DDN
from percert.attacks.run import CountedModel
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import Thumbnail
from percert.tensors import l2_norm

from .small_network import SmallNetwork, clear_images


@pytest.mark.parametrize("course", courses(8), ids=lambda course: course.name)
def test_its_distance_is_the_closed_form(course):
    ran = run("ddn:levels=0", "l2", course)
    assert ran.success == 1
    assert ran.max_ratio < 1.05
    assert ran.mean_ratio >= 1


def test_it_is_as_near_as_foolbox_is():
    pytest.importorskip("foolbox")
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    theirs = create_attack("foolbox", attack="DDNAttack", steps=60)
    distances = [
        l2_norm(attack(model, images, Untargeted(labels)) - images)
        for attack in (DDN(steps=60, levels=0), theirs)
    ]
    torch.testing.assert_close(*distances, rtol=0.06, atol=0)  # gamma, the last step's size


@pytest.mark.parametrize("levels", [256, 16])
def test_what_it_finds_has_the_levels_asked_for(levels):
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    images = round_to_8bit(images) if levels == 256 else images
    moved = DDN(steps=40, levels=levels)(model, images, Untargeted(labels))
    assert (model(moved).argmax(1) != labels).all()
    if levels == 256:
        assert torch.equal(moved, round_to_8bit(moved))
    else:
        scaled = 15 * moved
        torch.testing.assert_close(scaled, scaled.round(), rtol=0, atol=1e-5)


def test_a_saturated_cross_entropy_does_not_stop_it():
    """At a hundred times the logits all probabilities are 0 or 1, and the slope is lost."""
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    goal = Untargeted(labels)
    plain = DDN(levels=0, loss="margin")(model, images, goal)
    moved = DDN(levels=0)(lambda batch: 100 * model(batch), images, goal)
    ratio = l2_norm(moved - images) / l2_norm(plain - images)
    assert (ratio < 1.1).all()


def test_towards_a_target_it_ends_at_the_target():
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    target = (labels + 1) % 5
    moved = DDN()(model, images, Targeted(target))
    assert torch.equal(model(moved).argmax(1), target)


def test_images_at_the_goal_cost_one_call_and_the_others_all():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    labels[:3] = (labels[:3] + 1) % 5
    counted = CountedModel(model)
    moved = DDN(steps=10)(counted, images, labels)
    assert torch.equal(moved[:3], images[:3])
    assert counted.calls == 4 + 9 + 1


def test_more_confidence_costs_more():
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    near, far = (DDN(levels=0)(model, images, Untargeted(labels, a)) for a in (0.0, 5.0))
    assert (l2_norm(far - images) > 1.1 * l2_norm(near - images)).all()
    assert (Untargeted(labels, 5.0).margin(model(far)) > 0).all()


def test_what_cannot_be_reached_or_makes_no_sense_is_named():
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="beyond"):
        DDN()(Thumbnail(8), images, MoveEmbedding(images))
    with pytest.raises(ValueError, match="levels"):
        DDN(levels=1)
    with pytest.raises(ValueError, match="gamma"):
        DDN(gamma=1.0)
