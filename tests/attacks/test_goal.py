"""Goals against slow twins: what they climb, and when they count as reached."""

import math

import pytest
import torch

from percert.attacks import FlipTriplet, MoveEmbedding, Targeted, Untargeted
from percert.attacks.attack import go_on
from percert.attacks.goal import class_loss, targeted_dlr
from percert.attacks.steps import generators, gradient, noise_like
from percert.metrics import create_metric
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images


def scores(count: int = 20, classes: int = 6) -> torch.Tensor:
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(3))


def labels(count: int = 20, classes: int = 6) -> torch.Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(4))


def slow(z: list[float], y: int, kind: str, targeted: bool) -> float:
    """The losses as the papers write them, one image at a time, to be made large."""
    others = [value for j, value in enumerate(z) if j != y]
    ordered = sorted(z, reverse=True)
    lead = max(others) - z[y]
    if kind == "cross-entropy":
        value = -z[y] + math.log(sum(math.exp(v) for v in z))
    elif kind == "margin":
        value = lead
    elif targeted:
        value = lead / (ordered[0] - (ordered[2] + ordered[3]) / 2)
    else:
        value = lead / (ordered[0] - ordered[2])
    return -value if targeted else value


@pytest.mark.parametrize("kind", ["margin", "cross-entropy", "dlr"])
@pytest.mark.parametrize("goal", [Untargeted, Targeted])
def test_losses_against_a_slow_twin(goal, kind):
    z, y = scores(), labels()
    got = goal(y).loss(z, kind)
    wanted = [
        slow(row, label, kind, goal is Targeted)
        for row, label in zip(z.tolist(), y.tolist(), strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dlr"])
def test_dlr_does_not_change_with_scale_or_offset(kind):
    z, y = scores(), labels()
    for goal in (Untargeted(y), Targeted(y)):
        torch.testing.assert_close(
            goal.loss(7 * z + 3, kind), goal.loss(z, kind), rtol=1e-4, atol=1e-5
        )


def test_dlr_is_positive_exactly_where_an_untargeted_goal_is_reached():
    z, y = scores(200), labels(200)
    goal = Untargeted(y)
    assert torch.equal(goal.loss(z, "dlr") > 0, goal.margin(z) > 0)
    assert torch.equal(goal.margin(z) > 0, z.argmax(1) != y)
    assert torch.equal(Targeted(y).margin(z) > 0, z.argmax(1) == y)


def test_confidence_shifts_the_margin_and_not_the_loss():
    z, y = scores(), labels()
    for goal in (Untargeted, Targeted):
        plain, sure = goal(y), goal(y, confidence=0.7)
        torch.testing.assert_close(sure.margin(z), plain.margin(z) - 0.7)
        assert torch.equal(sure.loss(z), plain.loss(z))


def test_a_tie_reaches_no_goal():
    z = torch.tensor([[1.0, 1.0, 0.0]])
    for label in (0, 1):
        assert not Untargeted(torch.tensor([label])).margin(z) > 0
        assert not Targeted(torch.tensor([label])).margin(z) > 0


def test_losses_that_are_not_defined_say_so():
    y = torch.tensor([0])
    with pytest.raises(ValueError, match="'dlr' needs at least 3 classes, found 2"):
        Untargeted(y).loss(torch.zeros(1, 2), "dlr")
    with pytest.raises(ValueError, match="'dlr' needs at least 4 classes, found 3"):
        targeted_dlr(torch.zeros(1, 3), y)
    with pytest.raises(ValueError, match="loss: expected one of"):
        class_loss(torch.zeros(1, 3), y, "mse")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda x: torch.zeros(1, 3), r"expected logits \(2, classes\), found \(1, 3\)"),
        (lambda x: torch.zeros(2), r"found \(2,\)"),
        (lambda x: [0, 0], "found list"),
        (lambda x: torch.zeros(2, 1), "at least 2 classes, found 1"),
    ],
)
def test_what_is_no_classifier_is_refused(out, message):
    with pytest.raises(ValueError, match=message):
        Untargeted(torch.tensor([0, 0])).scores(out, grey_images(2))


def triplet():
    reference, left, right = (grey_images(4, side=16, seed=seed) for seed in (1, 2, 3))
    metric = Thumbnail(8)
    choice = (metric(reference, right) < metric(reference, left)).long()
    return metric, reference, FlipTriplet(left, right, choice)


def test_flipping_a_triplet_is_a_choice_of_two():
    metric, reference, goal = triplet()
    z = goal.scores(metric, reference)
    torch.testing.assert_close(z[:, 0], -metric(reference, goal.left).float())
    torch.testing.assert_close(z[:, 1], -metric(reference, goal.right).float())
    assert (goal.margin(z) <= 0).all()
    other = FlipTriplet(goal.left, goal.right, 1 - goal.choice)
    assert (other.margin(z) > 0).all()
    assert torch.equal(goal.labels, goal.choice)
    # The reference itself is one of the two: the margin of moving onto the other is its distance.
    onto = torch.where(goal.choice.bool()[:, None, None, None], goal.left, goal.right)
    torch.testing.assert_close(
        goal.margin(goal.scores(metric, onto)), metric(goal.left, goal.right).float()
    )
    with pytest.raises(ValueError, match="left: values lie in"):
        FlipTriplet(255 * goal.left, goal.right, goal.choice)


def test_any_metric_can_be_flipped():
    metric = create_metric("ssim", device="cpu")
    reference, left, right = (grey_images(2, side=16, seed=seed) for seed in (1, 2, 3))
    goal = FlipTriplet(left, right, torch.zeros(2, dtype=torch.long))
    slope, z = gradient(metric, reference, goal, goal.loss)
    assert slope.isfinite().all()
    assert z.shape == (2, 2)


def test_moving_an_embedding_is_equation_14():
    metric, images = Thumbnail(8), grey_images(3, side=16)
    moved = grey_images(3, side=16, seed=9)
    goal = MoveEmbedding(images)
    z = goal.scores(metric, moved)
    wanted = (metric.embed(moved) - metric.embed(images)).square().sum(1)
    torch.testing.assert_close(z[:, 0], wanted.float())
    assert torch.equal(goal.loss(z), z[:, 0])
    assert (goal.margin(z) == -torch.inf).all()
    near = MoveEmbedding(images, beyond=float(wanted.median()) * 0.999)
    assert (near.margin(z) > 0).sum() == 2


def test_a_metric_without_an_embedding_is_moved_by_its_distance():
    metric = create_metric("mse", device="cpu")
    images, moved = grey_images(2), grey_images(2, seed=5)
    z = MoveEmbedding(images).scores(metric, moved)
    torch.testing.assert_close(z[:, 0], metric(images, moved))


def test_selecting_is_the_goal_of_some_images_in_that_order():
    metric, reference, goal = triplet()
    index = torch.tensor([3, 1])
    some = goal.select(index)
    assert len(some) == 2
    assert torch.equal(
        some.margin(some.scores(metric, reference[index])),
        goal.margin(goal.scores(metric, reference))[index],
    )
    z, y = scores(), labels()
    for made in (Untargeted(y, 0.1), Targeted(y, 0.1)):
        assert torch.equal(made.select(index).margin(z[index]), made.margin(z)[index])
    moved = MoveEmbedding(reference, beyond=2.0)
    assert moved.select(index).beyond == 2.0
    assert torch.equal(moved.select(index).reference, reference[index])
    assert goal.select(index).confidence == goal.confidence


def test_scores_have_the_precision_of_the_images():
    metric, reference, goal = triplet()
    assert metric(reference, goal.left).dtype == torch.float64
    assert goal.scores(metric, reference).dtype == torch.float32
    assert MoveEmbedding(reference).scores(metric, reference).dtype == torch.float32
    half = Untargeted(torch.tensor([0, 0])).scores(lambda x: Linear()(x).bfloat16(), grey_images(2))
    assert half.dtype == torch.float32


def test_the_gradient_is_that_of_the_loss_and_leaves_nothing_behind():
    model, images = Linear(classes=3), grey_images(2)
    goal = Untargeted(torch.tensor([0, 1]))
    with torch.no_grad():
        slope, z = gradient(model, images, goal, goal.loss)
        assert not torch.is_grad_enabled()
    rivals = z.scatter(1, goal.labels[:, None], -torch.inf).argmax(1)
    wanted = (model.weight[rivals] - model.weight[goal.labels]).float()
    torch.testing.assert_close(slope.flatten(1), wanted)
    assert not images.requires_grad
    assert not slope.requires_grad
    assert not z.requires_grad


def test_random_numbers_belong_to_images():
    like = torch.zeros(3, 3, 4, 4)
    together = noise_like(like, generators(torch.tensor([5, 6, 7]), 3))
    alone = noise_like(like[1:2], generators(torch.tensor([6]), 1))
    assert torch.equal(together[1:2], alone)
    flat = noise_like(like, generators(None, 3), "uniform")
    assert torch.equal(flat[0], flat[2])  # all seeds are 0
    assert flat.abs().max() <= 1
    assert flat.min() < -0.5 < 0.5 < flat.max()
    with pytest.raises(ValueError, match="seeds: expected 3, one an image, found 2"):
        generators(torch.tensor([1, 2]), 3)


def test_an_attack_goes_on_while_images_are_left_and_nobody_says_stop():
    assert go_on(None, 0, 5, 1)
    assert not go_on(None, 0, 5, 0)
    assert not go_on(lambda done, total, active: done < 2, 2, 5, 1)
    asked = []
    assert not go_on(lambda *now: bool(asked.append(now)), 3, 5, 0)
    assert asked == []
