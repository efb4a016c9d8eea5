"""FAB against distances in closed form, and its projection against a slow twin."""

import pytest
import torch
from scipy.optimize import linprog, minimize

from percert.attacks import MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.minimal.fab import to_hyperplane
from percert.attacks.threat import length
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import InsideBall, Linear, grey_images


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_within_a_hundredth_of_the_nearest_boundary_of_a_linear_model(norm):
    model, images = Linear(classes=4), grey_images(8)
    labels = model(images).argmax(1)
    goal = Untargeted(labels)
    moved = create_attack("fab", norm=norm, steps=25)(model, images, goal)
    assert (goal.margin(model(moved)) > 0).all()
    ratio = length(moved - images, norm) / model.distance(images, labels, norm)
    assert (ratio > 1 - 1e-4).all()
    assert (ratio < 1.01).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_target_costs_its_own_distance(norm):
    """Two classes, so that the target's boundary is one plane."""
    model, images = Linear(classes=2), grey_images(6)
    labels = model(images).argmax(1)
    goal = Targeted(1 - labels)
    moved = create_attack("fab", norm=norm, steps=25)(model, images, goal)
    assert (goal.margin(model(moved)) > 0).all()
    ratio = length(moved - images, norm) / model.distance(images, labels, norm)
    assert (ratio < 1.01).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_within_a_twentieth_of_the_surface_of_a_ball(norm):
    centre = grey_images(1)
    model = InsideBall(centre, 0.8)
    images = centre + 0.04 * torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    goal = Untargeted(torch.zeros(6, dtype=torch.long))
    moved = create_attack("fab", norm=norm, steps=50)(model, images, goal)
    assert (goal.margin(model(moved)) > 0).all()
    ratio = length(moved - images, norm) / model.distance(images, norm)
    assert (ratio > 1 - 1e-4).all()
    assert (ratio < 1.05).all()


def test_into_a_ball_from_outside():
    centre = grey_images(1)
    model = InsideBall(centre, 0.5)
    images = centre + 0.08 * torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    assert (model.beyond(images) > 0.1).all()
    goal = Untargeted(torch.ones(6, dtype=torch.long))
    moved = create_attack("fab", norm="l2", steps=50)(model, images, goal)
    assert (goal.margin(model(moved)) > 0).all()
    assert (length(moved - images, "l2") / model.distance(images, "l2") < 1.05).all()


def test_with_eps_an_image_asks_no_more_once_it_is_broken_within():
    model, images = Linear(), grey_images(6)
    labels = model(images).argmax(1)
    goal = Untargeted(labels)
    model.images_seen = 0
    create_attack("fab", steps=30)(model, images, goal)
    whole, model.images_seen = model.images_seen, 0
    eps = 1.3 * float(model.distance(images, labels, "l2").max())
    model.images_seen = 0
    moved = create_attack("fab", steps=30, eps=eps)(model, images, goal)
    assert model.images_seen < whole / 5
    assert (length(moved - images, "l2") <= eps).all()
    assert (goal.margin(model(moved)) > 0).all()


def test_restarts_are_never_worse():
    model, images = Linear(), grey_images(4)
    labels = model(images).argmax(1)
    once, thrice = (
        create_attack("fab", steps=6, restarts=restarts)(model, images, Untargeted(labels))
        for restarts in (1, 3)
    )
    # Each ends with a search of its own, which may differ by a fraction of its bracket.
    assert (length(thrice - images, "l2") <= 1.001 * length(once - images, "l2")).all()


def test_confidence_moves_the_boundary():
    """The plane is then further by confidence / |w_j - w_y|."""
    model, images = Linear(classes=3), grey_images(4)
    labels = model(images).argmax(1)
    goal = Untargeted(labels, confidence=0.2)
    moved = create_attack("fab", steps=25)(model, images, goal)
    scores = model(images.double())
    lead = scores.gather(1, labels[:, None]) - scores + 0.2
    size = (model.weight[labels][:, None] - model.weight).norm(dim=2)
    wanted = (lead / size).scatter(1, labels[:, None], torch.inf).amin(1)
    assert (goal.margin(model(moved)) > 0).all()
    assert (length(moved - images, "l2") / wanted < 1.01).all()


def test_a_goal_without_an_end_is_refused_by_name():
    images = grey_images(2, side=16)
    with pytest.raises(ValueError, match="beyond"):
        create_attack("fab")(Thumbnail(8), images, MoveEmbedding(images))


def planes(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images that touch the ends of [0, 1], slopes with zeros, and what is to be gained."""
    generator = torch.Generator().manual_seed(11)
    images = torch.rand(count, 3, 2, 2, generator=generator).double()
    images[images < 0.2], images[images > 0.85] = 0, 1
    slope = torch.randn(images.shape, generator=generator).double()
    slope[slope.abs() < 0.2] = 0
    most = torch.where(slope > 0, 1 - images, -images).mul(slope).flatten(1).sum(1)
    least = torch.where(slope > 0, -images, 1 - images).mul(slope).flatten(1).sum(1)
    share = torch.linspace(-0.95, 0.95, count).double()
    return images, slope, torch.where(share > 0, share * most, -share * least)


def test_the_projection_is_the_l2_optimum_of_a_solver():
    images, slope, rise = planes(8)
    change = to_hyperplane(images, slope, rise, "l2")
    for x, w, want, got in zip(images, slope, rise, change, strict=True):
        x, w, got = x.flatten().numpy(), w.flatten().numpy(), got.flatten().numpy()
        solved = minimize(
            lambda d: (d**2).sum(),
            0 * x,
            jac=lambda d: 2 * d,
            bounds=list(zip(-x, 1 - x, strict=True)),
            constraints={
                "type": "eq",
                "fun": lambda d, w=w, want=want: w @ d - float(want),
                "jac": lambda d, w=w: w,
            },
            options={"ftol": 1e-14, "maxiter": 300},
        )
        assert solved.success
        assert abs(w @ got - float(want)) < 1e-9
        assert (got >= -x - 1e-12).all()
        assert (got <= 1 - x + 1e-12).all()
        assert (got**2).sum() == pytest.approx(solved.fun, rel=1e-5, abs=1e-9)


def test_the_projection_is_the_linf_optimum_of_a_linear_program():
    images, slope, rise = planes(8)
    change = to_hyperplane(images, slope, rise, "linf")
    for x, w, want, got in zip(images, slope, rise, change, strict=True):
        x, w, got = x.flatten().numpy(), w.flatten().numpy(), got.flatten().numpy()
        count = len(x)
        # Minimise t with -t <= d_i <= t; the last variable is t.
        upper = [[float(i == j) for j in range(count)] + [-1.0] for i in range(count)]
        lower = [[-float(i == j) for j in range(count)] + [-1.0] for i in range(count)]
        solved = linprog(
            [0.0] * count + [1.0],
            A_ub=upper + lower,
            b_ub=[0.0] * (2 * count),
            A_eq=[[*w, 0.0]],
            b_eq=[float(want)],
            bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
        )
        assert solved.success
        assert abs(w @ got - float(want)) < 1e-9
        assert abs(got).max() == pytest.approx(solved.fun, abs=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_what_is_out_of_reach_goes_to_the_nearest_corner(norm):
    images, slope, _ = planes(4)
    change = to_hyperplane(images, slope, torch.full((4,), 1e3).double(), norm)
    corner = torch.where(slope > 0, 1 - images, -images) * (slope != 0)
    torch.testing.assert_close(change, corner)
    flat = to_hyperplane(images, torch.zeros_like(slope), torch.ones(4).double(), norm)
    assert torch.equal(flat, torch.zeros_like(flat))
