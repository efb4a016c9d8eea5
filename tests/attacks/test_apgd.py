"""Auto-PGD's schedule, its steps, and that it leaves PGD behind where steps are hard to choose."""

from itertools import pairwise

import pytest
import torch

from percert.attacks import Untargeted, create_attack
from percert.attacks.apgd import checkpoints
from percert.attacks.run import CountedModel

from .closed_form import InsideBall, Linear, grey_images


def test_the_checkpoints_of_the_paper():
    """Section 3.2: p = 0, 0.22, then p + max(p - p_before - 0.03, 0.06); here for 100 steps."""
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    wanted = [-(-round(100 * at, 6) // 1) for at in p[1:] if at <= 1]
    assert checkpoints(100) == wanted
    assert checkpoints(10)[0] == 3


def test_the_best_loss_never_falls_with_more_steps():
    """A rugged loss: what comes back is the best point seen, not the last."""
    images = grey_images(4, width=0.3)

    def model(images):
        flat = images.flatten(1)
        wave = (20 * flat).sin().sum(1) + (7 * flat[:, :50]).cos().sum(1)
        return torch.stack([torch.zeros_like(wave) + 1e3, wave], 1)

    goal = Untargeted(torch.zeros(4, dtype=torch.long))
    values = []
    for steps in (1, 5, 20, 80):
        attack = create_attack("apgd", norm="l2", eps=2.0, loss="margin", steps=steps)
        values.append(goal.margin(model(attack(model, images, goal))))
    for fewer, more in pairwise(values):
        assert (more >= fewer).all()
    assert (values[-1] > values[0]).all()


def test_halved_steps_settle_where_full_ones_jump_over_the_top():
    """A concave loss with its top inside the ball: steps of 2 eps alone can never rest there."""
    centre = grey_images(3, seed=1)
    top = centre + 0.3 * (grey_images(3, seed=2) - 0.5)

    def model(images):
        away = (images - top).flatten(1).norm(dim=1)
        return torch.stack([torch.full_like(away, 10.0), -away], 1)

    goal = Untargeted(torch.zeros(3, dtype=torch.long))
    attack = create_attack("apgd", norm="l2", eps=1.0, loss="margin", steps=100)
    moved = attack(model, centre, goal)
    assert ((moved - top).flatten(1).norm(dim=1) < 0.05).all()


@pytest.mark.parametrize("loss", ["cross-entropy", "margin", "dlr"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_every_loss_leaves_a_linear_class(loss, norm):
    model, images = Linear(), grey_images(8)
    labels = model(images).argmax(1)
    goal = Untargeted(labels)
    for row in range(8):
        one = goal.select(torch.tensor([row]))
        image = images[row : row + 1]
        eps = 1.05 * float(model.distance(image, one.labels, norm)[0])
        moved = create_attack("apgd", norm=norm, eps=eps, loss=loss, steps=50)(model, image, one)
        if loss != "cross-entropy":  # whose gradient mixes all classes
            assert one.margin(model(moved)) > 0


def test_images_that_are_done_ask_no_more():
    model, images = Linear(), grey_images(6)
    labels = model(images).argmax(1)
    counted = CountedModel(model)
    attack = create_attack("apgd", norm="linf", eps=0.5)
    moved = attack(counted, images, Untargeted(labels))
    assert (model(moved).argmax(1) != labels).all()
    assert counted.calls < 4 * len(images)


def test_dlr_needs_three_classes():
    model, images = Linear(classes=2), grey_images(2)
    goal = Untargeted(model(images).argmax(1))
    with pytest.raises(ValueError, match="dlr"):
        create_attack("apgd", loss="dlr")(model, images, goal)


def test_it_leaves_a_ball_right_after_the_distance():
    centre = grey_images(1)
    model = InsideBall(centre, 1.0)
    images = centre + 0.05 * (grey_images(5, seed=3) - 0.5)
    goal = Untargeted(torch.zeros(5, dtype=torch.long))
    away = model.distance(images, "l2")
    for share, possible in ((0.99, False), (1.01, True)):
        for row in range(5):
            one = goal.select(torch.tensor([row]))
            attack = create_attack("apgd", norm="l2", eps=share * float(away[row]))
            moved = attack(model, images[row : row + 1], one)
            assert bool(one.margin(model(moved)) > 0) is possible
