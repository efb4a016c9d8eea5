"""The least multiple of a perturbation that survives rounding, against a scan of all multiples."""

import pytest
import torch

from percert.attacks import Untargeted
from percert.attacks.steps import at, rescale

from .closed_form import Linear, grey_images


def scene(width: float) -> tuple[Linear, torch.Tensor, torch.Tensor, Untargeted]:
    """Images on levels of 8 bits, and a change of ``width`` (l2) straight to the boundary."""
    model = Linear()
    images = (grey_images(6) * 255).round() / 255
    labels = model(images).argmax(1)
    away = model.distances(images, labels, "l2")
    rival = away.argmin(1)
    apart = (model.weight[rival] - model.weight[labels]).float()
    unit = (apart / apart.norm(dim=1, keepdim=True)).view_as(images)
    return model, images, width * unit, Untargeted(labels)


@pytest.mark.parametrize("width", [0.05, 0.5, 2.0])
def test_it_finds_the_least_multiple_up_to_its_resolution(width):
    """Along the line the margin rises with t up to rounding, so the first success of a fine scan

    lies within the last bracket, or the scan's own roughness, of what bisection finds.
    """
    model, images, change, goal = scene(width)
    found = rescale(model, images, images + change, goal, steps=12)
    assert (goal.margin(model(found)) > 0).all()
    scale = ((found - images) * change).flatten(1).sum(1) / change.square().flatten(1).sum(1)
    scan = torch.linspace(0, 16, 321)
    for row in range(6):
        alike = torch.full((len(scan),), row)
        tried = at(images[alike], change[alike], scan)
        ok = goal.select(alike).margin(model(tried)) > 0
        first = scan[ok.nonzero()[0, 0]]
        # Half a level in each of 192 pixels is what rounding can hide.
        assert scale[row] <= first + 0.5 / 255 * 192**0.5 / width + 0.05


def test_what_comes_back_is_an_8_bit_image():
    model, images, change, goal = scene(0.3)
    found = rescale(model, images, images + change, goal)
    assert torch.equal(found, (found * 255).round() / torch.tensor(255.0))


def test_without_any_success_the_given_image_comes_back_rounded():
    model, images, change, goal = scene(0.05)
    backwards = images - change
    found = rescale(model, images, backwards, goal)
    assert torch.equal(found, (backwards * 255).round() / torch.tensor(255.0))
    still = rescale(model, images, images, goal)
    assert torch.equal(still, images)


def test_it_costs_no_more_than_it_says():
    model, images, change, goal = scene(0.05)
    model.images_seen = 0
    rescale(model, images, images + change, goal, steps=5)
    assert model.images_seen <= 6 * (2 * 5 + 1)


def test_an_empty_batch():
    model, images, _, goal = scene(0.1)
    none = torch.tensor([], dtype=torch.long)
    assert len(rescale(model, images[:0], images[:0], goal.select(none))) == 0


def test_what_rounding_lost_is_found_again_beside_it_not_far_beyond():
    """Far along a curved way a goal may be reached again, where little is left of the image."""

    def model(images):
        levels = 255 * (images.mean((1, 2, 3)) - 100 / 255)
        there = ((levels > 2.5) & (levels < 3.5)) | (levels > 100)
        return torch.stack([torch.zeros_like(levels), there.float() - 0.5], 1)

    images = torch.full((1, 3, 4, 4), 100 / 255)
    found = rescale(model, images, images + 2.49 / 255, Untargeted(torch.tensor([0])))
    assert (255 * (found - images)).round().unique().tolist() == [3]
