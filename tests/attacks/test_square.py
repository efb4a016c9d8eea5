"""The Square attack: what its tries may be, and how close it comes to what is possible."""

from itertools import pairwise

import pytest
import torch

from percert.attacks import LpBall, MoveEmbedding, Untargeted, create_attack
from percert.attacks.bounded.square import (
    DRAWS,
    area,
    move_l2,
    move_linf,
    pyramids,
    start_l2,
    start_linf,
)
from percert.attacks.threat import length
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images


def numbers(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed))


def test_it_nears_the_maximum_of_a_linear_loss():
    """linf: two classes, all corners of the ball reachable, so the best corner is the optimum."""
    model, images = Linear(classes=2, side=4), grey_images(4, side=4)
    labels = model(images).argmax(1)
    attack = create_attack("square", norm="linf", eps=0.05, queries=1000)
    goal = Untargeted(labels, confidence=1e9)  # never there, so it climbs to the end
    moved = attack(model, images, goal)
    apart = model.weight[1 - labels] - model.weight[labels]
    scores = model(moved.double())
    reached = (scores.gather(1, 1 - labels[:, None]) - scores.gather(1, labels[:, None]))[:, 0]
    scores = model(images.double())
    now = (scores.gather(1, 1 - labels[:, None]) - scores.gather(1, labels[:, None]))[:, 0]
    share = (reached - now) / (0.05 * apart.abs().sum(1))
    assert (share <= 1 + 1e-6).all()
    assert (share > 0.9).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_success_within_three_times_the_closest_and_never_below(norm):
    model, images = Linear(classes=2, side=4), grey_images(1, side=4, seed=3)
    labels = model(images).argmax(1)
    away = float(model.distance(images, labels, norm)[0])
    goal = Untargeted(labels)
    for share, possible in ((0.98, False), (3.0, True)):
        attack = create_attack("square", norm=norm, eps=share * away, queries=400)
        moved = attack(model, images, goal)
        assert bool(goal.margin(model(moved)) > 0) is possible


def test_it_asks_for_scores_and_never_for_gradients():
    seen = []

    def model(images):
        seen.append(torch.is_grad_enabled())
        return Linear()(images)

    images = grey_images(2)
    goal = Untargeted(Linear()(images).argmax(1), confidence=1e9)
    create_attack("square", queries=20)(model, images, goal)
    assert len(seen) == 20
    assert not any(seen)


def test_its_loss_never_falls_with_more_queries():
    model, images = Linear(), grey_images(3)
    goal = Untargeted(model(images).argmax(1), confidence=1e9)
    margins = []
    for queries in (1, 10, 100, 200):
        # The schedule of areas depends on the budget, so stop one long run early instead.
        attack = create_attack("square", norm="l2", eps=0.5, queries=200)
        moved = attack(model, images, goal, watch=lambda done, total, left, q=queries: done < q)
        margins.append(goal.loss(model(moved)))
    for fewer, more in pairwise(margins):
        assert (more >= fewer).all()
    assert (margins[-1] > margins[0]).all()


def test_the_schedule_halves_the_area_at_the_published_queries():
    halved = [q for q in range(1, 10_001) if area(q, 10_000, 0.8) < area(q - 1, 10_000, 0.8)]
    assert halved == [11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    assert area(10_000, 10_000, 0.8) == pytest.approx(0.8 / 512)
    assert area(1001, 5000, 0.8) == area(2002, 10_000, 0.8)


def test_a_try_changes_one_square_for_linf():
    origin = grey_images(5, side=10)
    best = start_linf(origin, 0.1, torch.rand(5, 3, 10, 10))
    moved = move_linf(origin, best, 0.1, 9.0, numbers(5))
    change = moved - origin
    torch.testing.assert_close(change.abs(), torch.full_like(change, 0.1))
    for row in (moved != best).any(1):
        rows, columns = row.nonzero().unbind(1)
        if len(rows):
            assert rows.max() - rows.min() < 3
            assert columns.max() - columns.min() < 3


def test_starts_and_tries_keep_the_length_for_l2():
    origin = grey_images(4, side=11)
    best = start_l2(origin, 0.7, torch.rand(4, 3, 11, 11))
    torch.testing.assert_close(length(best - origin, "l2"), torch.full((4,), 0.7))
    for seed in range(20):
        best = move_l2(origin, best, 0.7, 16.0, numbers(4, seed))
        torch.testing.assert_close(length(best - origin, "l2"), torch.full((4,), 0.7))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (16, 5)])
def test_pictures_of_any_shape_stay_in_the_ball(height, width):
    origin = torch.rand(3, 3, height, width)
    for norm, start, move in (("l2", start_l2, move_l2), ("linf", start_linf, move_linf)):
        ball = LpBall(norm, 0.3)
        now = start(origin, 0.3, torch.rand(3, 3, height, width))
        for seed in range(10):
            assert ball.within(origin, now).all()
            assert 0 <= now.min() <= now.max() <= 1
            now = move(origin, now, 0.3, 0.4 * height * width, numbers(3, seed))


def test_pyramids_are_what_section_3_4_says():
    """Slow twin: sum over j of 1 / j^2 for the rectangles around the middle that hold a pixel."""
    size = 9
    wanted = torch.zeros(size, size)
    for top, height, sign in ((0, size // 2, 1), (size // 2, size - size // 2, -1)):
        for row in range(height):
            for column in range(size):
                away = max(abs(row - height // 2), abs(column - size // 2))
                layers = max(height, size) // 2 + 1
                wanted[top + row, column] = sign * sum(
                    1 / j**2 for j in range(away + 1, layers + 1)
                )
    wanted /= wanted.norm()
    torch.testing.assert_close(pyramids(size), wanted)
    assert pyramids(size).norm().item() == pytest.approx(1)


def test_it_moves_an_embedding_without_gradients():
    metric, images = Thumbnail(8), grey_images(2, side=16)
    attack = create_attack("square", norm="l2", eps=0.5, queries=100)
    moved = attack(metric, images, MoveEmbedding(images))
    reach = (metric.embed(moved) - metric.embed(images)).norm(dim=1)
    bound = metric.bound((16, 16)).value * 0.5
    assert (reach > 0.5 * bound).all()
    assert (reach <= bound * (1 + 1e-5)).all()
