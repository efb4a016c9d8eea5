"""What attacks are given: images, labels and models that are right, or one clear message."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from percert.attacks import (
    FlipTriplet,
    MoveEmbedding,
    Targeted,
    Untargeted,
    create_attack,
    judge,
    list_attacks,
    run_attack,
)
from percert.attacks.attack import evaluating
from percert.attacks.catalog import CATALOG

from .closed_form import Linear, near_boundary

SIDE = 16
#: An attack by itself, and as it is run and judged: the images that come of it.
WAYS = {
    "called": lambda attack, model, images, goal: attack(model, images, goal),
    "run": lambda attack, *given: run_attack(*given, attack, batch_size=1).verdict.images,
}


def scene(count: int = 2) -> tuple[Linear, Tensor, Tensor]:
    model = Linear(side=SIDE)
    images = near_boundary(model, count, side=SIDE)
    return model, images, model(images).argmax(1)


class Trained(nn.Module):
    """A linear classifier behind batch norm, with a part that somebody has put to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.rest = nn.Sequential(nn.Dropout(0.9), nn.Dropout(0.9).eval()).eval()
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(3 * SIDE * SIDE, 5)
        self.rest[0].train()

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.drop(self.rest(self.norm(images))).flatten(1))


def modes(model: nn.Module) -> list[bool]:
    return [each.training for each in model.modules()]


@pytest.mark.parametrize("name", list_attacks())
def test_labels_do_where_a_goal_does(name: str) -> None:
    """Integers of any width, and what comes back is what the goal gives."""
    if name == "foolbox":
        pytest.importorskip("foolbox")
    assert hasattr(CATALOG.load(name).__call__, "__wrapped__"), "the attack is not @prepared"
    model, images, labels = scene()
    options = {"metric": "squared-l2"} if name in ("lpa", "ppgd") else {}
    attack = create_attack(name, **options)

    def stop(done: int, total: int, active: int) -> bool:
        return done < 3

    by_goal = attack(model, images, Untargeted(labels), watch=stop)
    by_labels = attack(model, images, labels.to(torch.int32), watch=stop)
    assert torch.equal(by_labels, by_goal)


def test_ddn_takes_a_model_images_and_labels() -> None:
    model, images, labels = scene()
    moved = create_attack("ddn")(model, images, labels)
    assert (model(moved).argmax(1) != labels).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0.0, 1.0]), "labels: expected integers, found torch.float32"),
        (torch.tensor([True, False]), "labels: expected integers, found torch.bool"),
        (torch.tensor([[0], [1]]), r"labels: expected shape \(n,\), found \(2, 1\)"),
        (torch.tensor([0]), "goal: expected 2 entries, one an image, found 1"),
        (torch.tensor([0, 5]), "labels: expected classes from 0 to 4, .*found 5"),
        (torch.tensor([-1, 0]), "labels: expected classes from 0 to 4, .*found -1"),
        ([0, 1], "goal: expected one of percert.attacks, or labels, a tensor .*found list"),
    ],
)
@pytest.mark.parametrize("how", list(WAYS))
def test_labels_that_are_none_are_refused_in_one_line(labels, message, how) -> None:
    model, images, _ = scene()
    attack = create_attack("pgd", steps=2)
    with pytest.raises(ValueError, match=message) as refused:
        WAYS[how](attack, model, images, labels)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("goal", [Untargeted, Targeted])
def test_a_goal_checks_its_labels_as_well(goal) -> None:
    model, images, _ = scene()
    with pytest.raises(ValueError, match="labels: expected integers"):
        goal(torch.tensor([0.5, 1.0]))
    for wrong in (5, -1):
        with pytest.raises(ValueError, match=f"classes from 0 to 4, .*found {wrong}"):
            judge(model, images, images, goal(torch.tensor([0, wrong])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 255 * x, r"images: values lie in .*divide 8-bit values by 255"),
        (lambda x: (255 * x).to(torch.uint8), "images: expected a float tensor"),
        (lambda x: x.half(), "images: expected float32 or float64, found torch.float16; give"),
        (lambda x: x.bfloat16(), "images: expected float32 or float64, found torch.bfloat16"),
        (lambda x: x[0], r"images: expected shape \(n, 3, h, w\)"),
        (lambda x: x * torch.nan, "images: holds NaN"),
    ],
)
@pytest.mark.parametrize("name", list_attacks())
def test_images_that_are_none_are_refused_by_every_attack(name, change, message) -> None:
    model, images, labels = scene()
    with pytest.raises(ValueError, match=message):
        create_attack(name)(model, change(images), labels)
    with pytest.raises(ValueError, match=message):
        run_attack(model, change(images), labels, create_attack(name))


def test_a_model_in_half_precision_is_attacked_as_the_message_says() -> None:
    _, images, _ = scene()
    half = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)).half().eval()
    with torch.no_grad():
        labels = half(images.half()).argmax(1)
    attack = create_attack("pgd", norm="linf", eps=0.2)
    result = run_attack(lambda x: half(x.half()), images, labels, attack)
    assert result.verdict.success_8bit.all()
    assert result.verdict.images.dtype == torch.float32


@pytest.mark.parametrize("how", list(WAYS))
def test_a_model_in_training_mode_is_attacked_in_evaluation_mode_and_put_back(how) -> None:
    """Successes are those of the model as it is used, and nothing of it has changed afterwards."""
    torch.manual_seed(0)
    model = Trained()
    _, images, _ = scene()
    with evaluating(model, warn=False), torch.no_grad():
        labels = model(images).argmax(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    was = modes(model)
    attack = create_attack("pgd", norm="linf", eps=0.3)
    with pytest.warns(UserWarning, match="Trained is in training mode; it is attacked in eval"):
        moved = WAYS[how](attack, model, images, labels)
    assert modes(model) == was
    with pytest.warns(UserWarning, match="Trained is in training mode"):
        margin = judge(model, images, moved, labels).margin
    assert modes(model) == was
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    with evaluating(model, warn=False), torch.no_grad():
        assert (model(moved).argmax(1) != labels).all()
        assert torch.equal(margin, Untargeted(labels).margin(model(moved)))


def test_the_mode_is_put_back_where_the_attack_fails() -> None:
    _, images, labels = scene()
    model = Trained()
    was = modes(model)
    warned = pytest.warns(UserWarning, match="training mode")
    with warned, pytest.raises(ValueError, match="classes from 0 to 4"):
        run_attack(model, images, labels + 10, create_attack("pgd"))
    assert modes(model) == was


def test_a_model_in_evaluation_mode_is_not_spoken_of() -> None:
    _, images, labels = scene()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_attack(Trained().eval(), images, labels, create_attack("pgd", steps=1))


@pytest.mark.parametrize("name", ["pgd", "square", "ddn", "ssim-sqp", "autoattack"])
def test_logits_that_are_not_numbers_are_refused_and_do_not_count_as_robust(name) -> None:
    _, images, labels = scene()

    def model(images: Tensor) -> Tensor:
        return 0 * images.sum((1, 2, 3))[:, None] + torch.full((5,), torch.nan)

    with pytest.raises(ValueError, match=r"the logits of . of . images are NaN or infinite"):
        create_attack(name)(model, images, labels)


def test_distances_that_are_not_numbers_are_refused_too() -> None:
    _, images, _ = scene()

    def metric(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).flatten(1).norm(dim=1) * torch.nan

    goals = (FlipTriplet(images, images, torch.tensor([0, 1])), MoveEmbedding(images, 1.0))
    for goal in goals:
        with pytest.raises(ValueError, match="the distances of 2 of 2 images are NaN"):
            create_attack("pgd")(metric, images, goal)


@pytest.mark.parametrize("how", list(WAYS))
def test_a_model_for_another_size_is_one_line(how) -> None:
    _, images, labels = scene()
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 5)).eval()
    message = r"model: fails on images \(., 3, 16, 16\): mat1 and"
    with pytest.raises(ValueError, match=message) as refused:
        WAYS[how](create_attack("ddn"), model, images, labels)
    assert "\n" not in str(refused.value)
