"""Step-normalised ascent: along a linear model's gradient it walks straight to the boundary."""

import pytest
import torch

from percert.attacks import Ascent, Untargeted, judge
from percert.attacks.run import CountedModel
from percert.attacks.threat import length

from .closed_form import Linear, grey_images


def test_two_linear_classes_are_crossed_by_the_number_of_steps_that_the_distance_says():
    model, images = Linear(classes=2), grey_images(5)
    labels = model(images).argmax(1)
    away = model.distance(images, labels, "l2").float()
    step = 0.01
    moved = Ascent(step=step, steps=200, rescale_steps=0)(model, images, labels)
    walked = length(moved - images, "l2")
    wanted = (away / step).floor() * step + step
    torch.testing.assert_close(walked, wanted, rtol=0, atol=1e-4)


def test_rescaled_it_comes_close_to_the_optimum_as_a_file():
    """Within the optimum and what rounding half a level a pixel can cost."""
    model, images = Linear(classes=2), (grey_images(5) * 255).round() / 255
    labels = model(images).argmax(1)
    away = model.distance(images, labels, "l2").float()
    goal = Untargeted(labels)
    moved = Ascent()(model, images, goal)
    verdict = judge(model, images, moved, goal)
    assert verdict.success_8bit.all()
    assert (verdict.distances["l2"] <= away + 0.5 / 255 * 192**0.5 + 0.01).all()


def test_saturated_cross_entropy_has_no_gradient_where_the_margin_has():
    """The published algorithm's first pitfall: logits 1,000 apart."""
    linear, images = Linear(classes=2), grey_images(3)
    labels = linear(images).argmax(1)

    def model(x):
        return 1e5 * linear(x)

    goal = Untargeted(labels)
    by_margin = Ascent(step=0.05, steps=50, rescale_steps=0)(model, images, goal)
    attack = Ascent(step=0.05, steps=50, loss="cross-entropy", rescale_steps=0)
    by_likelihood = attack(model, images, goal)
    assert (goal.margin(model(by_margin)) > 0).all()
    assert torch.equal(by_likelihood, images)


def test_images_that_are_there_leave_the_batch():
    model, images = Linear(classes=2), grey_images(4)
    labels = model(images).argmax(1)
    steps = (model.distance(images, labels, "l2") / 0.01).floor() + 1
    counted = CountedModel(model)
    Ascent(step=0.01, steps=300, rescale_steps=0)(counted, images, labels)
    assert counted.calls == int((steps + 1).sum())


@pytest.mark.parametrize("steps", [0, 1])
def test_few_steps(steps):
    model, images = Linear(classes=2), grey_images(3)
    goal = Untargeted(model(images).argmax(1))
    moved = Ascent(step=1e-4, steps=steps, rescale_steps=0)(model, images, goal)
    torch.testing.assert_close(length(moved - images, "l2"), torch.full((3,), steps * 1e-4))
