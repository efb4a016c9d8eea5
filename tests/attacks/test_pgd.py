"""PGD against the maximum of a linear loss over the ball, which is known."""

import pytest
import torch

from percert.attacks import MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.bounded.pgd import PGD
from percert.attacks.threat import length
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images


def best_gap(model: Linear, images, labels, rivals, norm: str, eps: float):
    """The largest z_j - z_y in the ball: now, plus eps times the dual norm of w_j - w_y."""
    apart = model.weight[rivals] - model.weight[labels]
    scores = model(images.double())
    now = scores.gather(1, rivals[:, None]) - scores.gather(1, labels[:, None])
    return now[:, 0] + eps * (apart.norm(dim=1) if norm == "l2" else apart.abs().sum(1))


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.5), ("linf", 0.05)])
@pytest.mark.parametrize("name", ["pgd", "apgd"])
@pytest.mark.parametrize("loss", ["margin", "cross-entropy"])
def test_it_reaches_the_maximum_of_a_linear_loss(name, loss, norm, eps):
    """Two classes: the gap's gradient is constant, so one point of the ball is best for it."""
    model = Linear(classes=2)
    images = grey_images(6)
    labels = model(images).argmax(1)
    # PGD's own step of 2.5 eps / steps turns a random start on the sphere by 81 of 90 degrees.
    step = {"step": eps / 4} if name == "pgd" else {}
    attack = create_attack(name, norm=norm, eps=eps, loss=loss, stop=False, steps=40, **step)
    moved = attack(model, images, Untargeted(labels))
    scores = model(moved.double())
    reached = (scores.gather(1, 1 - labels[:, None]) - scores.gather(1, labels[:, None]))[:, 0]
    wanted = best_gap(model, images, labels, 1 - labels, norm, eps)
    torch.testing.assert_close(reached, wanted, rtol=0, atol=1e-3 * eps)


@pytest.mark.parametrize("name", ["pgd", "apgd"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("share", "possible"), [(0.97, False), (1.03, True)])
def test_it_succeeds_exactly_where_the_ball_crosses_the_boundary(name, norm, share, possible):
    model = Linear(classes=2)
    for seed in range(4):
        images = grey_images(1, seed=seed)
        labels = model(images).argmax(1)
        eps = share * float(model.distance(images, labels, norm)[0])
        goal = Untargeted(labels)
        moved = create_attack(name, norm=norm, eps=eps)(model, images, goal)
        assert bool(goal.margin(goal.scores(model, moved)) > 0) is possible


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_it_stays_in_the_box_where_that_binds(name):
    """At 0 and 1 the best change is known too: every pixel to the end that helps."""
    model = Linear(classes=2)
    images = (grey_images(3) > 0.5).float()
    labels = model(images).argmax(1)
    attack = create_attack(name, norm="linf", eps=0.2, loss="margin", stop=False, steps=40)
    moved = attack(model, images, Untargeted(labels))
    uphill = model.weight[1 - labels] - model.weight[labels]
    best = (images.flatten(1) + 0.2 * uphill.sign()).clamp(0, 1).float()
    torch.testing.assert_close(moved.flatten(1), best)


def test_a_target_is_reached_and_not_only_the_label_left():
    model = Linear()
    images = grey_images(4)
    targets = model(images).argmin(1)
    away = Targeted(targets)
    moved = PGD(eps=2.0)(model, images, away)
    assert torch.equal(model(moved).argmax(1), targets)


def test_confidence_is_asked_of_the_margin():
    model, images = Linear(), grey_images(4)
    labels = model(images).argmax(1)
    moved = PGD(eps=3.0)(model, images, Untargeted(labels, confidence=0.3))
    scores = model(moved)
    ahead = scores.amax(1) - scores.gather(1, labels[:, None])[:, 0]
    assert (ahead > 0.3).all()


def test_the_embedding_moves_as_far_as_the_ball_reaches():
    """LipSim's attack on a linear embedding: its length is the largest singular value times eps."""
    metric, images = Thumbnail(8), grey_images(3, side=16)
    eps = 0.25
    for name in ("pgd", "apgd"):
        attack = create_attack(name, norm="l2", eps=eps, steps=60)
        moved = attack(metric, images, MoveEmbedding(images))
        reach = (metric.embed(moved) - metric.embed(images)).norm(dim=1)
        assert (length(moved - images, "l2") <= eps * (1 + 1e-5)).all()
        bound = metric.bound((16, 16)).value * eps
        assert (reach <= bound * (1 + 1e-5)).all()
        assert (reach > 0.99 * bound).all()


def test_without_a_random_start_the_embedding_has_no_gradient():
    metric, images = Thumbnail(8), grey_images(2, side=16)
    still = PGD(random_start=False)(metric, images, MoveEmbedding(images))
    assert torch.equal(still, images)
    moved = PGD(random_start=False, restarts=2)(metric, images, MoveEmbedding(images))
    assert (length(moved - images, "l2") > 0.9).all()


def test_restarts_find_what_one_run_misses():
    """Two ways out, of which the gradient at the image shows only the one that is too long."""

    def model(images):
        x = images[:, 0, 0, 0]
        up = torch.where(x > 0.5, x - 0.5, torch.where(x < 0.35, 0.45, -0.5 * (0.5 - x)))
        return torch.stack([torch.full_like(up, 0.2), up], 1)

    image = torch.full((1, 3, 1, 1), 0.5)
    goal = Untargeted(torch.tensor([0]))
    options = {"norm": "linf", "eps": 0.18, "loss": "margin", "random_start": False}
    found = {
        restarts: create_attack("pgd", restarts=restarts, **options)(model, image, goal)
        for restarts in (1, 20)
    }
    assert goal.margin(model(found[1])) < 0 < goal.margin(model(found[20]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l1"}, "norm: expected one of 'l2', 'linf', found 'l1'"),
        ({"eps": -1.0}, "eps: expected a finite number"),
        ({"loss": "mse"}, "loss: expected one of"),
    ],
)
@pytest.mark.parametrize("name", ["pgd", "apgd", "square"])
def test_settings_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_attack(name, **options)
