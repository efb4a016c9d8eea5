"""What a user of torchattacks or foolbox writes first: classes, one call, one judged result."""

import inspect
import subprocess
import sys

import pytest
import torch

import percert
from percert import attacks
from percert.attacks import DDN, PGD, LpBall, Targeted, create_attack, iter_attack
from percert.attacks.catalog import CATALOG

from .closed_form import Linear, grey_images


def scene(count=5):
    model, images = Linear(), grey_images(count)
    return model, images, model(images).argmax(1)


def test_an_attack_is_made_and_called_on_model_images_and_labels():
    model, images, labels = scene()
    attack = PGD(norm="linf", eps=32 / 255, step=4 / 255, steps=10)
    adversarial = attack(model, images, labels)
    assert (model(adversarial).argmax(1) != labels).all()
    assert ((adversarial - images).abs() <= 32 / 255 + 1e-6).all()


def test_every_attack_of_the_catalog_is_a_class_of_the_package_found_by_completion():
    listed = dir(attacks)
    for name in CATALOG:
        kind = CATALOG.load(name)
        assert kind.__name__ in listed
        assert getattr(attacks, kind.__name__) is kind
        for parameter in inspect.signature(kind).parameters.values():
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.annotation is not parameter.empty


def test_the_field_s_names_are_there():
    wanted = "APGD AutoAttack CarliniWagner DDN FAB FMN LPA PGD PPGD PerCAL SSIMSQP Square"
    assert set(wanted.split()) <= set(dir(attacks))


def test_an_attack_is_found_from_the_package_alone_and_loads_nothing_before():
    script = (
        "import sys, percert; before = 'torch' in sys.modules; percert.attacks.PGD(eps=0.1); "
        "percert.attack; print(before, 'percert.attacks.minimal.cw' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("attack", ["pgd:norm=linf,steps=10", PGD(norm="linf", steps=10)])
def test_one_call_gives_one_judged_result_for_all_images(attack):
    model, images, labels = scene()
    result = percert.attack(model, images, labels, attack=attack, eps=0.2, batch_size=2)
    assert result.index.tolist() == list(range(5))
    assert result.verdict.success.all()
    moved = PGD(norm="linf", steps=10, eps=0.2)(model, images, labels, seeds=torch.arange(5))
    torch.testing.assert_close(result.verdict.images, moved, rtol=0, atol=1e-6)
    streamed = list(iter_attack(model, images, labels, attack, eps=0.2, batch_size=2))
    assert [part.index.tolist() for part in streamed] == [[0, 1], [2, 3], [4]]
    assert torch.equal(torch.cat([part.verdict.images for part in streamed]), result.verdict.images)


def test_without_a_name_it_is_the_least_visible_attack_and_a_goal_stands_for_labels():
    model, images, labels = scene(2)
    result = percert.attack(model, images, labels)
    twin = percert.attack(model, images, labels, attack="ssim-sqp")
    assert torch.equal(result.verdict.images, twin.verdict.images)
    target = (labels + 1) % 5
    aimed = percert.attack(model, images, Targeted(target), attack=DDN())
    assert torch.equal(model(aimed.verdict.images_8bit).argmax(1), target)


def test_an_attack_that_is_a_function_runs_and_takes_no_settings():
    model, images, labels = scene(2)

    def nothing(model, images, goal, *, seeds=None, watch=None):
        return images.clone()

    assert not percert.attack(model, images, labels, nothing).verdict.achieved.any()
    with pytest.raises(ValueError, match="attack: function takes no settings here, found 'eps'"):
        percert.attack(model, images, labels, nothing, eps=1.0)


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        ("pdg", {}, "unknown name 'pdg', did you mean 'pgd'"),
        ("pgd", {"epsilon": 1.0}, "attack pgd: unknown option 'epsilon'; known: eps,"),
        (PGD(), {"epsilon": 1.0}, "attack PGD: unknown option 'epsilon'; known: eps,"),
        ("pgd:eps=wide", {}, "attack pgd: eps: expected float, found 'wide'"),
        (PGD(), {"eps": -1.0}, "eps: expected a finite number of at least 0, found -1.0"),
    ],
)
def test_what_is_misspelt_is_said_in_one_line(attack, settings, message):
    with pytest.raises(ValueError, match=message) as refused:
        percert.attack(*scene(1), attack, **settings)
    assert "\n" not in str(refused.value)


BOUNDED = {
    "pgd": {"steps": 30},
    "apgd": {"steps": 30},
    "square": {"queries": 60},
    "autoattack": {"steps": 10, "fab_steps": 5, "queries": 20, "targets": 2},
    "fab": {"steps": 10, "targets": 2},
    "foolbox": {"attack": "L2FastGradientAttack"},
    "lpa": {"metric": "squared-l2", "rounds": 2, "steps": 10},
    "ppgd": {"metric": "squared-l2", "steps": 10},
}


@pytest.mark.parametrize("name", list(BOUNDED))
def test_every_image_has_a_budget_of_its_own(name):
    """As each image alone with its number, in one batch and in several, judged by it."""
    if name == "foolbox":
        pytest.importorskip("foolbox")
    key = "bound" if name in ("lpa", "ppgd") else "eps"
    model, images, labels = scene()
    away = model.distance(images, labels, "l2").float()
    budgets = away * torch.tensor([0.0, 0.9, 1.3, 3.0, 2.0])
    seeds = torch.arange(5)
    together = create_attack(name, **BOUNDED[name], **{key: budgets})
    moved = together(model, images, labels, seeds=seeds)
    assert LpBall("l2", budgets).within(images, moved).all() or name == "fab"
    for row, budget in enumerate(budgets.tolist()):
        one = slice(row, row + 1)
        alone = create_attack(name, **BOUNDED[name], **{key: budget})
        expected = alone(model, images[one], labels[one], seeds=seeds[one])
        torch.testing.assert_close(moved[one], expected, rtol=0, atol=1e-5)
    result = percert.attack(model, images, labels, together, batch_size=2)
    torch.testing.assert_close(result.verdict.images, moved, rtol=0, atol=1e-5)
    assert not (result.verdict.success & (budgets < away)).any()
    assert (
        (result.verdict.images_8bit - images)
        .flatten(1)
        .norm(dim=1)[result.verdict.success_8bit]
        .le(1.0001 * budgets[result.verdict.success_8bit])
        .all()
    )
    if name in ("pgd", "apgd", "autoattack"):
        assert result.verdict.success.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (torch.tensor([0.1, 0.2]), "eps: expected one number or 3, one an image, found 2"),
        (torch.tensor([0.1, -0.2, 0.1]), "eps: expected finite numbers .*, found -0.2"),
        (torch.tensor([0.1, torch.nan, 0.1]), "eps: expected finite numbers .*, found nan"),
        (torch.ones(3, 1), r"eps: expected a number, or floats of shape \(n,\), found .*\(3, 1\)"),
        (torch.ones(3, dtype=torch.long), "eps: expected a number, or floats .* torch.int64"),
    ],
)
@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "autoattack", "fab"])
def test_budgets_that_do_not_fit_are_refused(name, eps, message):
    model, images, labels = scene(3)
    with pytest.raises(ValueError, match=message):
        create_attack(name, eps=eps)(model, images, labels)
    with pytest.raises(ValueError, match=message):
        percert.attack(model, images, labels, name, eps=eps, batch_size=2)
