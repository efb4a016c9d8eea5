"""Rounding into the ball: never outside, and no worse than what trying everything finds."""

from itertools import product

import pytest
import torch

from percert.attacks import LpBall, MetricBall, Unbounded, create_attack, judge, run_attack
from percert.attacks.threat import length, nearest_in_ball, round_inside
from percert.images import round_to_8bit

from .closed_form import Linear, grey_images, near_boundary

NORMS = ("l1", "l2", "linf")


def draw(count: int, side: int, seed: int, *, on_grid: bool = True):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, side, side, generator=generator)
    change = torch.randn(count, 3, side, side, generator=generator)
    return round_to_8bit(images) if on_grid else images, change


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("levels", [0.4, 1.0, 1.7, 8.0, 8.6])
def test_what_was_allowed_stays_allowed(norm, levels):
    """Originals of 8 bits, the ends of [0, 1] included: there always is an image inside."""
    images, change = draw(6, 12, 1)
    images[0], images[1] = 0.0, 1.0
    eps = levels / 255 * {"l1": 3 * 144, "l2": (3 * 144) ** 0.5, "linf": 1}[norm]
    ball = LpBall(norm, eps)
    moved = ball.project(images, images + 10 * change)
    files = round_inside(ball, images, moved)
    assert torch.equal(files, round_to_8bit(files))
    assert ball.within(images, files).all()
    assert (length(files.double() - images.double(), norm) <= eps + 1e-7).all()
    plain = round_to_8bit(moved)
    fine = ball.within(images, plain)
    assert torch.equal(files[fine], plain[fine])
    if norm == "linf" and levels in (1.7, 8.6):
        assert not fine.any(), "the case is one where plain rounding leads outside"


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_as_near_as_any_image_of_the_ball(norm):
    """All combinations of levels near four values are tried; greedy may miss one value's level."""
    origin = torch.tensor([100.0, 50.0, 200.0, 30.0], dtype=torch.float64)
    for seed in range(20):
        change = torch.randn(4, generator=torch.Generator().manual_seed(seed)).double()
        eps = {"l1": 4.3, "l2": 2.3, "linf": 1.7}[norm]
        ball = LpBall(norm, eps / 255)
        image, wanted = ((v / 255).view(1, 1, 2, 2) for v in (origin, origin + change))
        moved = ball.project(image, image + 10 * (wanted - image))
        found = 255 * nearest_in_ball(ball, image, moved).flatten()
        y = 255 * moved.flatten()
        every = [
            torch.tensor(levels)
            for levels in product(*[[v + k for k in range(-5, 6)] for v in origin.tolist()])
            if length((torch.tensor(levels) - origin)[None], norm)[0] <= eps + 1e-9
        ]
        best = min(float((levels - y).square().sum()) for levels in every)
        ours = float((found - y).square().sum())
        assert length((found - origin)[None], norm)[0] <= eps + 1e-9
        if norm == "linf":
            assert ours == pytest.approx(best, abs=1e-9)
        else:  # of a whole, the part of one value that a knapsack leaves open
            assert ours <= best + 1.5


def test_only_the_values_that_were_rounded_outwards_the_most_go_back():
    """Levels 0.6 become 1, which is too long in l2; exactly those go back that bring it inside."""
    images = torch.full((1, 3, 8, 8), 100 / 255)
    change = torch.linspace(0.55, 0.7, 192).view(1, 3, 8, 8) / 255
    ball = LpBall("l2", float(change.norm()))
    files = round_inside(ball, images, images + change)
    levels = (255 * (files - images)).round().flatten()
    room = int((255 * ball.eps) ** 2)  # so many values may change by one level
    assert levels.tolist() == [0.0] * (192 - room) + [1.0] * room


def test_an_original_between_the_levels():
    """With room there is an 8-bit image inside; without, plain rounding is outside."""
    images, change = draw(4, 6, 3, on_grid=False)
    for norm in NORMS:
        wide = LpBall(norm, {"l1": 108 / 255, "l2": 108**0.5 / 255, "linf": 1.0 / 255}[norm])
        moved = wide.project(images, images + change)
        assert wide.within(images, round_inside(wide, images, moved)).all()
        narrow = LpBall(norm, 1e-4)
        moved = narrow.project(images, images + change)
        files = round_inside(narrow, images, moved)
        assert torch.equal(files, round_to_8bit(moved))
        assert not narrow.within(images, files).any()


def test_another_threat_goes_back_on_the_way_to_the_original():
    images, change = draw(3, 8, 4)

    def metric(a, b):
        return (a - b).flatten(1).square().sum(1)

    ball = MetricBall(metric, (1.5 / 255) ** 2 * 192)
    moved = images + change / 255
    size = metric(images, moved).sqrt()[:, None, None, None]
    moved = (images + (moved - images) * ball.eps**0.5 / size).clamp(0, 1)
    files = round_inside(ball, images, moved)
    assert ball.within(images, files).all()
    assert (files != images).flatten(1).any(1).all()
    outside = images + 10 * change / 255
    assert torch.equal(round_inside(ball, images, outside.clamp(0, 1)), round_to_8bit(outside))
    assert torch.equal(round_inside(Unbounded(), images, moved), round_to_8bit(moved))


BOUNDED = {
    "pgd": {"steps": 20},
    "apgd": {"steps": 20},
    "square": {"queries": 300},
    "autoattack": {"steps": 10, "fab_steps": 0, "queries": 50},
}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 7.6 / 255), ("linf", 0.03), ("l2", 0.7)])
def test_a_bounded_attack_succeeds_as_a_file_within_its_own_eps(name, norm, eps):
    """At an eps of no whole levels, plain rounding led outside, and no file was a success."""
    model = Linear(side=16)
    images = round_to_8bit(near_boundary(model, 6, side=16))
    labels = model(images).argmax(1)
    attack = create_attack(name, norm=norm, eps=eps, **BOUNDED[name])
    verdict = run_attack(model, images, labels, attack).verdict
    assert verdict.success.all()
    assert (verdict.distances[norm] <= eps + 1e-6).all()
    assert torch.equal(verdict.images_8bit, round_to_8bit(verdict.images_8bit))
    assert verdict.within_threat_8bit.all()
    assert verdict.success_8bit.any()
    if name != "square":  # which stops so near the boundary that a level less can be a failure
        assert verdict.success_8bit.all()


def test_what_cannot_succeed_inside_is_told_from_what_fails():
    """Within 0.7 levels there is no other image; rounded outside, three quarters succeed."""
    images = torch.full((4, 3, 4, 4), 127 / 255)

    def model(images):  # class 1 above the level 127.25
        mean = images.mean((1, 2, 3)) - 127.25 / 255
        return torch.stack([-mean, mean], 1)

    labels = torch.zeros(4, dtype=torch.long)
    moved = images + torch.tensor([0.7, 0.6, 0.4, 0.0]).view(4, 1, 1, 1) / 255
    ball = LpBall("linf", 0.7 / 255)
    verdict = judge(model, images, moved, labels, threat=ball)
    assert verdict.success.tolist() == [True, True, True, False]
    assert verdict.success_8bit.tolist() == [False] * 4
    assert verdict.within_threat_8bit.tolist() == [True] * 4
    assert torch.equal(verdict.images_8bit, images)
    # 127.7 and 127.6 become 128, which is too far; 127.4 becomes 127, which is no success anywhere.
    assert verdict.outside_8bit.tolist() == [True, True, False, False]
    anything = judge(model, images, moved, labels)
    assert anything.success_8bit.tolist() == [True, True, False, False]
    assert not anything.outside_8bit.any()


def test_an_attack_is_judged_by_its_own_budget_unless_told_otherwise():
    model, images = Linear(), grey_images(3)
    labels = model(images).argmax(1)

    class TooFar:
        def threat(self, model, images):
            return LpBall("linf", 0.01)

        def __call__(self, model, images, goal, *, seeds=None, watch=None):
            return create_attack("pgd", norm="linf", eps=0.2)(model, images, goal)

    own = run_attack(model, images, labels, TooFar()).verdict
    assert own.achieved.all()
    assert not own.success.any()
    assert not own.success_8bit.any()
    assert own.outside_8bit.all()
    told = run_attack(model, images, labels, TooFar(), threat=LpBall("linf", 0.2)).verdict
    assert told.success_8bit.all()


@pytest.mark.parametrize("name", ["lpa", "ppgd"])
def test_an_attack_in_a_perceptual_ball_stays_in_it_as_a_file(name):
    model = Linear(side=16)
    images = round_to_8bit(near_boundary(model, 3, side=16))
    labels = model(images).argmax(1)
    attack = create_attack(name, metric="squared-l2", bound=0.3, noise=1e-3)
    verdict = run_attack(model, images, labels, attack).verdict
    assert verdict.success_8bit.all()
    assert (verdict.distances["l2"] <= 0.3001).all()


def test_fab_and_foolbox_with_an_eps_are_judged_by_it():
    model, images = Linear(), grey_images(4)
    labels = model(images).argmax(1)
    away = model.distance(images, labels, "l2")
    eps = float(away.median()) * 1.02
    attack = create_attack("fab", norm="l2", eps=eps, steps=30)
    verdict = run_attack(model, images, labels, attack).verdict
    assert verdict.achieved.all()
    assert torch.equal(verdict.success, away <= eps)
    pytest.importorskip("foolbox")
    one = create_attack("foolbox", attack="LinfPGD", eps=0.03)
    assert one.threat(model, images) == LpBall("linf", 0.03)
    assert create_attack("foolbox", attack="DDNAttack").threat(model, images) == Unbounded()
