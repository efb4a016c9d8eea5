"""What every attack of the catalog keeps to, whoever wrote it."""

import time
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from percert.attacks import (
    FlipTriplet,
    LpBall,
    MoveEmbedding,
    Targeted,
    Untargeted,
    create_attack,
    judge,
    list_attacks,
)
from percert.attacks.attack import Attack
from percert.attacks.catalog import CATALOG
from percert.attacks.goal import Goal
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, near_boundary

#: Settings that cost time, and the most that this file spends on them.
CHEAP = {"steps": 20, "iterations": 20, "queries": 200, "fab_steps": 6, "targets": 2}
#: What an attack needs to be given: budgets that are easy here.
OPTIONS: dict[str, dict[str, object]] = {
    "pgd": {"eps": 1.0},
    "apgd": {"eps": 1.0},
    "square": {"eps": 3.0},
    "autoattack": {"eps": 1.0},
    "foolbox": {"attack": "DDNAttack", "steps": 10},
    "lpa": {"metric": "squared-l2", "bound": 1.0},
    "ppgd": {"metric": "squared-l2", "bound": 1.0},
}
SIDE, COUNT = 16, 2
NAMES = list_attacks()


def made(name: str, **options: object) -> Attack:
    """The attack at small budgets; skips where a package that it needs is not there."""
    if name == "foolbox":
        pytest.importorskip("foolbox")
    cheap = {
        field.name: min(CHEAP[field.name], field.default)
        for field in fields(CATALOG.load(name))
        if field.name in CHEAP and isinstance(field.default, int)
    }
    return create_attack(name, **{**cheap, **OPTIONS.get(name, {}), **options})


def scene() -> tuple[Linear, Tensor, Tensor]:
    """A linear classifier, images that are 0.1 (l2) from its nearest boundary, and their labels."""
    model = Linear(side=SIDE)
    images = near_boundary(model, COUNT, side=SIDE)
    return model, images, model(images).argmax(1)


def second_classes(model: Linear, images: Tensor) -> Tensor:
    return model(images).topk(2).indices[:, 1]


def triplet() -> tuple[Tensor, FlipTriplet]:
    """Photographs' stand-ins with a near copy to the left and one hardly further to the right."""
    generator = torch.Generator().manual_seed(5)
    draw = [torch.rand(COUNT, 3, SIDE, SIDE, generator=generator) for _ in range(3)]
    reference = 0.3 + 0.4 * draw[0]
    left = (reference + 0.2 * (draw[1] - 0.5)).clamp(0, 1)
    right = (reference + 0.2 * (draw[2] - 0.5)).clamp(0, 1)
    metric = Thumbnail(8)
    choice = (metric(reference, right) < metric(reference, left)).long()
    return reference, FlipTriplet(left, right, choice)


def attacks_on(kind: str) -> list[str]:
    return [name for name in NAMES if kind in CATALOG[name].goals]


def check_output(attack: Attack, images: Tensor, moved: Tensor) -> None:
    assert moved.shape == images.shape
    assert moved.dtype == images.dtype
    assert not moved.requires_grad
    assert moved.isfinite().all()
    assert 0 <= moved.min() <= moved.max() <= 1
    norm, eps = getattr(attack, "norm", None), getattr(attack, "eps", None)
    if norm is not None and eps is not None:
        assert LpBall(norm, eps).within(images, moved).all()


@pytest.mark.parametrize("name", attacks_on("classifier"))
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_it_succeeds_on_an_easy_classifier(name: str, targeted: bool) -> None:
    model, images, labels = scene()
    goal: Goal = Targeted(second_classes(model, images)) if targeted else Untargeted(labels)
    attack = made(name)
    moved = attack(model, images, goal)
    check_output(attack, images, moved)
    assert judge(model, images, moved, goal).achieved.all()


@pytest.mark.parametrize("name", attacks_on("triplet"))
@pytest.mark.filterwarnings("ignore:autoattack")
def test_it_turns_round_a_choice_of_two(name: str) -> None:
    images, goal = triplet()
    metric, attack = Thumbnail(8), made(name)
    moved = attack(metric, images, goal)
    check_output(attack, images, moved)
    assert judge(metric, images, moved, goal).achieved.all()


@pytest.mark.parametrize("name", attacks_on("embedding"))
def test_it_moves_an_embedding(name: str) -> None:
    images, _ = triplet()
    metric, attack = Thumbnail(8), made(name)
    beyond = 0.002
    # A bounded attack goes as far as it can, a minimal one must be told how far.
    goal = MoveEmbedding(images, *([beyond] if CATALOG[name].kind == "minimal" else []))
    moved = attack(metric, images, goal)
    check_output(attack, images, moved)
    away = (metric.embed(moved) - metric.embed(images)).square().sum(1)
    assert (away > beyond).all()


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    model, images, labels = scene()
    seeds = torch.tensor([3, 1])
    attack = made(name)
    together = attack(model, images, Untargeted(labels), seeds=seeds)
    for row in range(COUNT):
        only = slice(row, row + 1)
        alone = attack(model, images[only], Untargeted(labels[only]), seeds=seeds[only])
        torch.testing.assert_close(alone, together[only], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_the_same_seeds_give_the_same_images(name: str) -> None:
    model, images, labels = scene()
    attack = made(name)
    first, second = (
        attack(model, images, Untargeted(labels), seeds=torch.arange(COUNT)) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_a_model_without_gradients_is_never_broken(name: str) -> None:
    """Scores that do not depend on the image: zero gradients everywhere, and no success."""
    scores = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])

    def model(images: Tensor) -> Tensor:
        return scores + 0 * images.sum((1, 2, 3))[:, None]

    _, images, _ = scene()
    for goal in (
        Untargeted(torch.zeros(COUNT, dtype=torch.long)),
        Targeted(torch.ones(COUNT, dtype=torch.long)),
    ):
        attack = made(name)
        moved = attack(model, images, goal)
        check_output(attack, images, moved)
        assert not judge(model, images, moved, goal).achieved.any()


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_a_gradient_that_is_not_a_number_stays_out_of_the_image(name: str) -> None:
    linear, images, labels = scene()

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images):  # type: ignore[no-untyped-def]
            return images.clone()

        @staticmethod
        def backward(ctx, slope):  # type: ignore[no-untyped-def]
            return slope.index_fill(3, torch.tensor([2]), torch.nan)

    attack = made(name)
    moved = attack(lambda x: linear(Broken.apply(x)), images, Untargeted(labels))
    check_output(attack, images, moved)


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_watch_ends_it_at_once(name: str) -> None:
    model, images, labels = scene()
    seen: list[tuple[int, int, int]] = []

    def watch(done: int, total: int, active: int) -> bool:
        seen.append((done, total, active))
        return False

    attack = made(name)
    moved = attack(model, images, Untargeted(labels), watch=watch)
    check_output(attack, images, moved)
    assert len(seen) == 1
    done, total, active = seen[0]
    assert done == 0 < total
    assert active == COUNT


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_watch_ends_every_loop_whatever_the_settings(name: str) -> None:
    """With each number of iterations in turn out of all measure."""
    model, images, labels = scene()
    for field in fields(CATALOG.load(name)):
        if not isinstance(field.default, int) or isinstance(field.default, bool):
            continue
        try:
            attack = made(
                name, **{field.name: 10**9}, **({"tolerance": 0.0} if name == "ssim-step" else {})
            )
        except ValueError:
            continue  # not a number of iterations
        began = time.monotonic()

        def patient(batch: Tensor, began: float = began, what: str = field.name) -> Tensor:
            assert time.monotonic() < began + 20, f"{name} does not end while {what} is left"
            return model(batch)

        def watch(done: int, total: int, active: int, began: float = began) -> bool:
            return time.monotonic() < began + 0.3

        check_output(attack, images, attack(patient, images, Untargeted(labels), watch=watch))


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_it_leaves_its_surroundings_alone(name: str) -> None:
    """The gradient mode, the images and the global random numbers are as they were."""
    model, images, labels = scene()
    images = images.contiguous(memory_format=torch.channels_last)
    before, numbers = images.clone(), torch.get_rng_state()
    for enabled in (False, True):
        with torch.set_grad_enabled(enabled):
            moved = made(name)(model, images, Untargeted(labels))
            assert torch.is_grad_enabled() is enabled
        assert not moved.requires_grad
        assert not images.requires_grad
        assert torch.equal(images, before)
        assert torch.equal(torch.get_rng_state(), numbers)
        assert moved.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_an_image_that_is_wrong_already_is_no_success_as_it_is(name: str) -> None:
    model, images, labels = scene()
    wrong = Untargeted((labels + 1) % 5)
    moved = made(name)(model, images, wrong)
    same = (moved == images).flatten(1).all(1)
    assert not (judge(model, images, moved, wrong).achieved & same).any()


@pytest.mark.parametrize("name", attacks_on("classifier"))
def test_no_images_are_no_problem(name: str) -> None:
    model, images, labels = scene()
    moved = made(name)(model, images[:0], Untargeted(labels[:0]))
    assert moved.shape == images[:0].shape
