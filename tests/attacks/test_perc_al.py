"""PerC-AL: what it finds has less colour difference than what looks for l2."""

import pytest
import torch

from percert.attacks import MoveEmbedding, Targeted, Untargeted
from percert.attacks.minimal.ascent import Ascent, PerCAL
from percert.attacks.minimal.ddn import DDN
from percert.color import ciede2000, srgb_to_lab
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import Thumbnail
from percert.tensors import l2_norm

from .small_network import SmallNetwork, clear_images


def color_difference(images, moved):
    return l2_norm(ciede2000(srgb_to_lab(images), srgb_to_lab(moved)))


@pytest.fixture
def scene():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    images = round_to_8bit(images)
    return model, images, labels


def test_it_pays_less_in_colour_than_attacks_that_look_at_l2(scene):
    model, images, labels = scene
    moved = PerCAL(steps=80)(model, images, Untargeted(labels))
    assert (model(moved).argmax(1) != labels).all()
    assert torch.equal(moved, round_to_8bit(moved))
    for rival in (DDN(), Ascent()):
        other = rival(model, images, Untargeted(labels))
        price = color_difference(images, moved).mean() / color_difference(images, other).mean()
        assert price < 0.75


def test_the_best_of_many_steps_is_not_worse_than_that_of_the_first(scene):
    """Stopped after a success, and after many more steps of the same schedule."""
    model, images, labels = scene
    early, late = (
        PerCAL(steps=60)(
            model,
            images,
            labels,
            watch=lambda done, total, active, last=last: done < last,
        )
        for last in (15, 60)
    )
    assert (model(early).argmax(1) != labels).all()
    cheaper = color_difference(images, late) <= color_difference(images, early) + 0.5
    assert cheaper.all()
    assert color_difference(images, late).sum() < 0.8 * color_difference(images, early).sum()


def test_a_step_has_its_length_in_l2(scene):
    """One step, on a linear loss and unrounded: exactly ``loss_step`` along the gradient."""
    grey = torch.full((1, 3, 8, 8), 0.5)
    weight = torch.randn(3, 8, 8)

    def model(images):
        value = ((images - 0.5) * weight).sum((1, 2, 3)) - 0.01
        return torch.stack([-value, value], 1)

    moved = PerCAL(steps=1, loss_step=0.5)(model, grey, torch.tensor([0]))
    expected = round_to_8bit(grey + 0.5 * weight / weight.norm())
    assert torch.equal(moved, expected)


@pytest.mark.parametrize(("targeted", "size"), [(False, 0.1), (True, 0.5)])
def test_the_colour_step_is_the_authors(scene, targeted, size):
    model, images, labels = scene
    goal = Targeted((labels + 1) % 5) if targeted else Untargeted(labels)
    chosen, given = (
        PerCAL(steps=30, color_step=step)(model, images, goal) for step in (None, size)
    )
    assert torch.equal(chosen, given)
    assert (goal.margin(model(chosen)) > 0).all()


def test_what_cannot_be_reached_is_named():
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="beyond"):
        PerCAL()(Thumbnail(8), images, MoveEmbedding(images))
