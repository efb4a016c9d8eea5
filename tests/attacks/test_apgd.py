"""Auto-PGD's schedule, its steps, and that it leaves PGD behind where steps are hard to choose."""

from itertools import pairwise

import pytest
import torch

from percert.attacks import Untargeted, create_attack
from percert.attacks.bounded.pgd import checkpoints
from percert.attacks.run import CountedModel
from percert.attacks.steps import generators, random_point

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


def rugged(images):
    """Two logits of which the first is never reached; the second has hills everywhere."""
    flat = images.flatten(1)
    wave = (9 * flat).sin().sum(1) + (4 * flat[:, 1:] * flat[:, :-1]).cos().sum(1)
    return torch.stack([torch.full_like(wave, 1e3), wave], 1)


def algorithm_1(model, image, start, *, norm, eps, steps, rho=0.75, alpha=0.75):
    """Croce and Hein's Algorithm 1 as it is printed, for one image: every point that it visits,

    and which of the two conditions cut the step at each checkpoint.

    The gradient's direction is its sign for linf and its multiple of length 1 for l2, as in their
    code, from which also comes that x_max takes the place of x(k), and x(k-1) stays, after a cut.
    """

    def project(point):
        change = point - image
        if norm == "linf":
            change = change.clamp(-eps, eps)
        elif change.norm() > eps:
            change = change * (eps / change.norm())
        return (image + change).clamp(0, 1)

    def f(point):
        point = point.detach().requires_grad_()
        scores = model(point)
        value = scores[0, 1] - scores[0, 0]
        (slope,) = torch.autograd.grad(value, point)
        return value.item(), slope.sign() if norm == "linf" else slope / slope.norm()

    w = [0, *checkpoints(steps)]
    eta, x, before = 2 * eps, start, start
    value, slope = f(x)
    visited, best = [x], (value, x, slope)
    rises, best_at, cut_at, why = 0, {0: value}, {0: False}, []
    for k in range(steps):
        z = project(x + eta * slope)
        share = 1.0 if k == 0 else alpha
        moved = project(x + share * (z - x) + (1 - share) * (x - before))
        before, x = x, moved
        last, (value, slope) = value, f(x)
        visited.append(x)
        rises += value > last
        if value > best[0]:
            best = (value, x, slope)
        if k + 1 in w:
            j = w.index(k + 1)
            first = rises < rho * (w[j] - w[j - 1])
            second = not cut_at[w[j - 1]] and best_at[w[j - 1]] == best[0]
            best_at[w[j]], cut_at[w[j]], rises = best[0], first or second, 0
            why.append((first, second))
            if first or second:
                eta, (value, x, slope) = eta / 2, best
    return visited, why


@pytest.mark.parametrize(
    ("norm", "eps", "steps", "settings", "kinds"),
    [
        ("l2", 0.5, 60, {}, {(False, False), (True, False)}),
        ("l2", 5.0, 40, {"rho": 0.5}, {(False, False), (True, False), (False, True)}),
        ("linf", 0.1, 40, {"rho": 0.5}, {(False, False), (True, False), (False, True)}),
    ],
)
def test_it_visits_the_points_of_the_papers_algorithm(norm, eps, steps, settings, kinds):
    """Step by step, so that no share, no count and no condition can be another."""
    seen = []

    def model(images):
        seen.append(images.detach().clone())
        return rugged(images)

    image = grey_images(1, side=6, width=0.3).double()
    attack = create_attack("apgd", norm=norm, eps=eps, steps=steps, loss="margin", **settings)
    attack(model, image, Untargeted(torch.tensor([0])), seeds=torch.tensor([5]))
    radius = torch.tensor([eps], dtype=torch.float64)
    start = random_point(image, norm, radius, generators(torch.tensor([5]), 1))
    expected, why = algorithm_1(rugged, image, start, norm=norm, eps=eps, steps=steps, **settings)
    assert kinds <= set(why), "each condition is to cut the step by itself, and to leave it once"
    assert len(seen) == len(expected) == steps + 1
    for place, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9, msg=f"step {place}")


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


@pytest.mark.parametrize(
    ("loss", "classes"),
    [("cross-entropy", 2), ("margin", 5), ("dlr", 5)],  # the first's gradient mixes all classes
)
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_every_loss_leaves_a_linear_class(loss, classes, norm):
    model, images = Linear(classes=classes), grey_images(8)
    labels = model(images).argmax(1)
    goal = Untargeted(labels)
    for row in range(8):
        one = goal.select(torch.tensor([row]))
        image = images[row : row + 1]
        eps = 1.05 * float(model.distance(image, one.labels, norm)[0])
        moved = create_attack("apgd", norm=norm, eps=eps, loss=loss, steps=50)(model, image, one)
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
