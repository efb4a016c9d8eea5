"""AutoAttack: which attacks run, on which images, and that the worst case of each counts."""

import warnings

import pytest
import torch

from percert.attacks import FlipTriplet, LpBall, MoveEmbedding, Targeted, Untargeted, create_attack
from percert.attacks.bounded import autoattack as module
from percert.attacks.bounded.autoattack import AutoAttack, stages
from percert.attacks.goal_through import Towards, through_classes
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images

SMALL = {"steps": 10, "targets": 3, "fab_steps": 5, "queries": 50}
ONE = torch.tensor([0])


@pytest.mark.parametrize(
    ("goal", "classes", "names"),
    [
        (Untargeted(ONE), 10, ["apgd-cross-entropy", "apgd-dlr-targeted", "fab", "square"]),
        (Untargeted(ONE), 3, ["apgd-cross-entropy", "apgd-dlr", "fab", "square"]),
        (Untargeted(ONE), 2, ["apgd-cross-entropy", "apgd-margin", "fab", "square"]),
        (Targeted(ONE), 10, ["apgd-cross-entropy", "apgd-dlr", "fab", "square"]),
        (Targeted(ONE), 3, ["apgd-cross-entropy", "apgd-margin", "fab", "square"]),
        (
            MoveEmbedding(torch.zeros(1, 3, 2, 2)),
            1,
            ["apgd-cross-entropy", "apgd-margin", "square"],
        ),
    ],
)
def test_the_standard_ensemble_by_goal(goal, classes, names):
    assert stages(goal, classes, AutoAttack()) == names


def test_lipsims_reading_is_apgd_with_cross_entropy_alone():
    assert stages(Untargeted(ONE), 10, AutoAttack(version="lipsim")) == ["apgd-cross-entropy"]
    model, images = Linear(), grey_images(4)
    goal = Untargeted(model(images).argmax(1))
    for eps in (0.02, 0.3):
        options = {"eps": eps, "steps": 20}
        theirs = create_attack("autoattack", version="lipsim", **options)(model, images, goal)
        plain = create_attack("apgd", **options)(model, images, goal)
        assert torch.equal(goal.margin(model(theirs)) > 0, goal.margin(model(plain)) > 0)


def test_the_published_budgets_are_the_defaults():
    settings = AutoAttack()
    assert (settings.steps, settings.fab_steps, settings.queries) == (100, 100, 5000)
    assert (settings.targets, settings.restarts) == (9, 1)


def runs(monkeypatch, succeed):
    """Replace the attacks by ones that note what they are sent, and succeed where told."""
    seen = []

    def stand_in(name):
        def made(*, loss=None, **settings):
            def attack(model, images, goal, *, seeds, watch):
                kind = name.lower() if loss is None else f"{name.lower()}-{loss}"
                if isinstance(goal, Towards):
                    kind += "-towards"
                seen.append((kind, images[:, 0, 0, 0].tolist(), seeds.tolist()))
                moved = images.clone()
                moved[:, 0, 0, 1] = torch.tensor(
                    [kind in succeed.get(int(i), ()) for i in images[:, 0, 0, 0] * 10 + 0.5]
                ).float()
                return moved

            return attack

        return made

    for name in ("APGD", "FAB", "Square"):
        monkeypatch.setattr(module, name, stand_in(name))
    return seen


def marked(count):
    """Image i has i / 10 in its first pixel; a second pixel of 1 makes it class 1."""
    images = torch.zeros(count, 3, 2, 2)
    images[:, 0, 0, 0] = torch.arange(count) / 10

    def model(images):
        second = images[:, 0, 0, 1]
        rest = torch.zeros_like(second)
        return torch.stack([0.5 + rest, second, rest - 1, rest - 2, rest - 3], 1)

    return images, model


def test_an_image_that_is_broken_is_not_attacked_again(monkeypatch):
    succeed = {0: ("apgd-cross-entropy",), 1: ("apgd-dlr-towards",), 2: ("fab",), 3: ("square",)}
    seen = runs(monkeypatch, succeed)
    images, model = marked(5)
    goal = Untargeted(torch.zeros(5, dtype=torch.long))
    settings = AutoAttack(eps=1.0, targets=2)
    moved = settings(model, images, goal, seeds=torch.arange(5))
    assert (goal.margin(model(moved)) > 0).tolist() == [True, True, True, True, False]
    counts = [(kind, len(which)) for kind, which, _ in seen]
    assert counts == [
        ("apgd-cross-entropy", 5),
        ("apgd-dlr-towards", 4),
        ("apgd-dlr-towards", 3),
        ("fab", 3),
        ("square", 2),
    ]
    # No stage shares another's random numbers, and each image keeps its own.
    drawn = [tuple(seeds) for _, _, seeds in seen]
    assert len({seeds[-1] for seeds in (drawn[0], drawn[1], drawn[3], drawn[4])}) == 4
    assert all(len(set(seeds)) == len(seeds) for seeds in drawn)


def test_what_leaves_the_ball_is_no_success(monkeypatch):
    runs(monkeypatch, {0: ("apgd-cross-entropy",)})
    images, model = marked(1)
    goal = Untargeted(ONE)
    moved = AutoAttack(eps=0.5)(model, images, goal)
    assert LpBall("l2", 0.5).within(images, moved).all()
    assert goal.margin(model(moved)) < 0


def test_it_is_at_least_as_strong_as_each_of_its_parts():
    model, images = Linear(classes=6), grey_images(10)
    labels = model(images).argmax(1)
    goal = Untargeted(labels)
    eps = float(model.distance(images, labels, "l2").median()) * 1.001
    moved = create_attack("autoattack", eps=eps, **SMALL)(model, images, goal)
    broken = goal.margin(model(moved)) > 0
    assert torch.equal(broken, model.distance(images, labels, "l2") <= eps)
    for name, options in (("apgd", {"steps": 10}), ("square", {"queries": 50})):
        part = create_attack(name, eps=eps, **options)(model, images, goal)
        assert not ((goal.margin(model(part)) > 0) & ~broken).any()


def test_two_logits_get_the_margin_and_a_warning():
    metric = Thumbnail(8)
    reference = grey_images(2, side=16, seed=1)
    left, right = grey_images(2, side=16, seed=2), grey_images(2, side=16, seed=3)
    choice = (metric(reference, right) < metric(reference, left)).long()
    goal = FlipTriplet(left, right, choice)
    attack = create_attack("autoattack", eps=4.0, **SMALL)
    with pytest.warns(UserWarning, match=r"DLR is not defined for this goal with 2 score\(s\)"):
        moved = attack(metric, reference, goal)
    assert (goal.margin(goal.scores(metric, moved)) > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_attack("autoattack", version="lipsim", steps=3)(metric, reference, goal)


def test_watch_ends_all_stages():
    model, images = Linear(), grey_images(3)
    goal = Untargeted(model(images).argmax(1))
    calls = []

    def watch(done, total, active):
        calls.append(done)
        return len(calls) < 15

    attack = create_attack("autoattack", eps=1e-4, **SMALL)
    attack(model, images, goal, watch=watch)
    assert len(calls) == 15


def test_an_unknown_version_is_refused():
    with pytest.raises(ValueError, match="version: expected one of 'standard', 'lipsim'"):
        AutoAttack(version="rand")


def test_the_classes_that_come_next():
    scores = torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 9.0, 1.0, 2.0]])
    goal = Untargeted(torch.tensor([0, 1]))
    ways = [way.classes.tolist() for way in through_classes(goal, scores, 2)]
    assert ways == [[2, 3], [3, 2]]
    assert len(list(through_classes(goal, scores, 9))) == 3
    targeted = Targeted(torch.tensor([0, 1]))
    assert list(through_classes(targeted, scores, 9)) == [targeted]
    assert list(through_classes(goal, scores[:, :2], 9)) == [goal]


def test_the_targeted_loss_against_a_slow_twin():
    scores = torch.randn(6, 7, generator=torch.Generator().manual_seed(2))
    labels, classes = torch.arange(6), (torch.arange(6) + 3) % 7
    way = Towards(Untargeted(labels, confidence=0.5), classes)
    for row in range(6):
        z = scores[row].tolist()
        ordered = sorted(z, reverse=True)
        ahead = z[classes[row]] - z[labels[row]]
        dlr = ahead / (ordered[0] - (ordered[2] + ordered[3]) / 2)
        assert way.loss(scores, "dlr")[row].item() == pytest.approx(dlr, rel=1e-4)
        assert way.loss(scores, "margin")[row].item() == pytest.approx(ahead, rel=1e-4)
        assert way.gap(scores)[row].item() == pytest.approx(ahead - 0.5, rel=1e-4)
        rivals = max(value for j, value in enumerate(z) if j != labels[row])
        wanted = rivals - z[labels[row]] - 0.5
        assert way.margin(scores)[row].item() == pytest.approx(wanted, rel=1e-4)
