"""Carlini and Wagner's attack against closed forms and against foolbox's."""

import pytest
import torch

from experiments.attacks.closed_form import courses, run
from percert.attacks import MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.minimal.cw import CarliniWagner
from percert.attacks.run import CountedModel
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import Thumbnail
from percert.tensors import l2_norm

from .small_network import SmallNetwork, clear_images


@pytest.mark.parametrize("course", courses(3), ids=lambda course: course.name)
def test_its_distance_is_the_closed_form(course):
    ran = run("cw:steps=150,search_steps=7,rescale_steps=0", "l2", course)
    assert ran.success == 1
    assert ran.max_ratio < 1.05
    assert ran.mean_ratio >= 1


def test_it_is_at_most_as_far_as_foolbox_is():
    pytest.importorskip("foolbox")
    model = SmallNetwork()
    images, labels = clear_images(model, 2)
    ours = CarliniWagner(steps=30, rescale_steps=0)
    theirs = create_attack("foolbox", attack="L2CarliniWagnerAttack", steps=30)
    near, far = (
        l2_norm(attack(model, images, Untargeted(labels)) - images) for attack in (ours, theirs)
    )
    assert (near <= 1.02 * far).all()
    assert (near >= 0.8 * far).all()


def test_the_constant_grows_until_there_is_a_success():
    """At 1e-6 the distance weighs more than any margin; six times ten times that, and it works."""
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    success = [
        (model(moved).argmax(1) != labels).all().item()
        for moved in (
            CarliniWagner(search_steps=rounds, const=1e-6, steps=40, rescale_steps=0)(
                model, images, labels
            )
            for rounds in (1, 8)
        )
    ]
    assert success == [False, True]


def test_an_objective_that_stands_still_ends_the_round():
    """Nothing can be reached, so the least objective is at the start: two looks, then it leaves."""
    model = CountedModel(
        lambda images: torch.tensor([[1.0, 0.0]]) + 0 * images.mean((1, 2, 3))[:, None]
    )
    grey = torch.full((1, 3, 4, 4), 0.5)
    goal = Untargeted(torch.tensor([0]))
    settings = {"search_steps": 1, "steps": 100, "rescale_steps": 0}
    CarliniWagner(**settings, abort_early=True)(model, grey, goal)
    stopped, model.calls = model.calls, 0
    CarliniWagner(**settings, abort_early=False)(model, grey, goal)
    assert stopped < 60 < model.calls


def test_pixels_at_the_ends_of_the_range_do_no_harm():
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    images[:, :, ::2] = images[:, :, ::2].round()
    labels = model(images).argmax(1)
    moved = CarliniWagner(steps=60, search_steps=5)(model, images, Untargeted(labels))
    assert (model(moved).argmax(1) != labels).all()
    assert torch.equal(moved, round_to_8bit(moved))


def test_towards_a_target_it_ends_at_the_target():
    model = SmallNetwork()
    images, labels = clear_images(model, 2)
    target = (labels + 1) % 5
    moved = CarliniWagner(steps=50, search_steps=5)(model, images, Targeted(target))
    assert torch.equal(model(moved).argmax(1), target)


def test_what_cannot_be_reached_or_makes_no_sense_is_named():
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="beyond"):
        CarliniWagner()(Thumbnail(8), images, MoveEmbedding(images))
    with pytest.raises(ValueError, match="rate"):
        CarliniWagner(rate=0.0)
    with pytest.raises(ValueError, match="const"):
        CarliniWagner(const=float("inf"))
