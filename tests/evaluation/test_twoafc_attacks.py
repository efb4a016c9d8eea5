"""Which attacks an evaluation runs, and the goal that moves several images of a triplet."""

import pytest
import torch
from tests.evaluation.twoafc_images import picture

from percert import create_metric
from percert.attacks.catalog import parse_attack
from percert.attacks.goal import FlipTriplet
from percert.attacks.goal_through import TOGETHER, flip_together, interleave, take_apart
from percert.evaluation.twoafc.attacks import AttackBudget, plan_attacks
from percert.metrics.deep import dreamsim


def test_the_ensemble_is_made_for_every_budget():
    plan = plan_attacks(["aa"], l2=(0.5, 1), linf=(0.01,))
    assert [(entry.norm, entry.budget) for entry in plan.values()] == [
        *(
            ("l2", AttackBudget("l2", 0.5)),
            ("l2", AttackBudget("l2", 1.0)),
            ("linf", AttackBudget("linf", 0.01)),
        ),
        *(
            ("l2", AttackBudget("l2", 0.5)),
            ("l2", AttackBudget("l2", 1.0)),
            ("linf", AttackBudget("linf", 0.01)),
        ),
        *(("l2", None), ("linf", None)),
        *(
            ("l2", AttackBudget("l2", 0.5)),
            ("l2", AttackBudget("l2", 1.0)),
            ("linf", AttackBudget("linf", 0.01)),
        ),
    ]
    assert {getattr(entry.attack, "loss", None) for entry in plan.values()} == {
        *("cross-entropy", "margin", None)
    }


def test_of_several_images_the_ensemble_is_what_can_move_them_together():
    plan = plan_attacks(["aa"], l2=(0.5,), perturbed="all")
    assert list(plan) == [
        "apgd:loss=cross-entropy,norm=l2,eps=0.5",
        "apgd:loss=margin,norm=l2,eps=0.5",
        "square:norm=l2,eps=0.5",
    ]


def test_settings_decide_the_norm_the_budget_and_what_is_left_to_the_lists():
    lists = {"l2": (0.5,), "linf": (0.01,)}
    assert list(plan_attacks(["pgd:norm=linf"], **lists)) == ["pgd:norm=linf,eps=0.01"]
    assert list(plan_attacks(["pgd:eps=3"], **lists)) == ["pgd:eps=3"]
    assert list(plan_attacks(["ddn:steps=5"], **lists)) == ["ddn:steps=5"]
    assert list(plan_attacks(["apgd-ce", "apgd-ce"], l2=(1,))) == [
        "apgd:loss=cross-entropy,norm=l2,eps=1"
    ]
    assert plan_attacks(["autoattack:norm=l2,eps=2"])[
        "autoattack:norm=l2,eps=2"
    ].budget == AttackBudget("l2", 2.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((["pdg"],), "unknown name 'pdg'"),
        ((["aa:steps=3"],), "takes no settings"),
        ((["pgd"],), "has no budget"),
        ((["fmn:norm=l1"],), "expected the norm l2 or linf"),
    ],
)
def test_what_cannot_be_run_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        plan_attacks(*given)


def test_what_does_not_fit_what_moves_or_the_metric_is_refused():
    with pytest.raises(ValueError, match="cannot move several images"):
        plan_attacks(["fab"], l2=(1,), perturbed="all")
    with pytest.raises(ValueError, match="follows gradients"):
        plan_attacks(["pgd"], l2=(1,), differentiable=False)
    assert plan_attacks(["square"], l2=(1,), differentiable=False)


def batch(count=3):
    roles = {"reference": 0, "left": 1, "right": 2}
    return {
        role: torch.stack([picture(3 * i + place) for i in range(count)])
        for role, place in roles.items()
    }


@pytest.mark.parametrize("perturbed", ["reference", "candidates", "all"])
@pytest.mark.parametrize("name", ["thumbnail", "ssim"])
def test_scores_are_minus_the_distances_whatever_moves(name, perturbed):
    metric, triplet = create_metric(name, device="cpu"), batch()
    expected = -torch.stack(
        [metric(triplet["reference"], triplet[side]) for side in ("left", "right")], 1
    ).float()
    choice = torch.tensor([0, 1, 0])
    goal = flip_together(metric, triplet, choice, perturbed)
    rows = interleave(triplet, perturbed)
    scores = goal.scores(metric, rows)
    count = len(rows) // 3
    assert torch.allclose(scores, expected.repeat_interleave(count, 0), atol=1e-6)
    kept = torch.arange(len(rows))[count:]  # without the first triplet
    some = goal.select(kept)
    assert torch.allclose(some.scores(metric, rows[kept]), scores[kept], atol=1e-6)
    assert some.labels.tolist() == choice[1:].repeat_interleave(count).tolist()
    back = take_apart(rows, triplet, perturbed)
    assert all(torch.equal(back[role], triplet[role]) for role in triplet)


def test_the_gradient_is_that_of_the_plain_goal():
    metric, triplet = create_metric("lipsim-tiny", device="cpu"), batch(2)
    choice = torch.tensor([0, 1])
    plain = FlipTriplet(triplet["left"], triplet["right"], choice)
    slopes = []
    for goal in (plain, flip_together(metric, triplet, choice, "reference")):
        at = triplet["reference"].clone().requires_grad_(True)
        goal.loss(goal.scores(metric, at)).sum().backward()
        slopes.append(at.grad)
    assert torch.allclose(*slopes, atol=1e-6)
    assert slopes[0].abs().max() > 0


def test_dreamsim_embeds_what_moves_and_nothing_else(monkeypatch, tmp_path):
    seen = []

    class Ensemble:
        def embed(self, images):
            seen.append(len(images))
            return images[:, :, ::37, ::41].flatten(1) - 0.5

    monkeypatch.setattr(dreamsim, "load_dreamsim", lambda part, folder, device: Ensemble())
    metric, triplet = dreamsim.DreamSim(tmp_path), batch(2)
    expected = -torch.stack(
        [metric(triplet["reference"], triplet[side]) for side in ("left", "right")], 1
    )
    goal = flip_together(metric, triplet, torch.tensor([0, 1]), "reference")
    seen.clear()
    assert torch.allclose(goal.scores(metric, triplet["reference"]), expected, atol=1e-6)
    assert seen == [2]


@pytest.mark.parametrize("name", TOGETHER)
def test_attacks_that_may_move_several_keep_a_triplet_together(name):
    """Beside triplets that are turned round sooner or later, or not at all."""
    metric, triplet = create_metric("thumbnail", device="cpu"), batch(3)
    near = triplet["reference"] + 0.02 * (triplet["left"] - triplet["reference"])
    triplet["left"] = torch.stack([triplet["left"][0], near[1], triplet["left"][2]])
    choice = (
        metric(triplet["reference"], triplet["right"])
        < metric(triplet["reference"], triplet["left"])
    ).long()
    settings = {
        "apgd": "eps=0.6,steps=12",
        "pgd": "eps=0.6,steps=12",
        "ascent": "step=0.05,steps=12",
    }
    attack = parse_attack(f"{name}:{settings.get(name, 'eps=0.6,queries=40')}")[1]
    goal = flip_together(metric, triplet, choice, "all")
    moved = attack(metric, interleave(triplet, "all"), goal, seeds=torch.arange(9))
    margin = goal.margin(goal.scores(metric, moved)).view(3, 3)
    assert torch.equal(margin, margin[:, :1].expand(3, 3))
    alone = []
    for i in range(3):
        one = {role: images[i : i + 1] for role, images in triplet.items()}
        goal = flip_together(metric, one, choice[i : i + 1], "all")
        alone.append(
            attack(metric, interleave(one, "all"), goal, seeds=torch.arange(3 * i, 3 * i + 3))
        )
    assert torch.allclose(torch.cat(alone), moved, atol=1e-5)


def test_images_that_move_together_must_have_one_size():
    triplet = batch(1)
    triplet["right"] = picture(1, 20)[None]
    metric = create_metric("thumbnail", device="cpu")
    with pytest.raises(ValueError, match="must have one size, found 16 x 16 and 20 x 20"):
        flip_together(metric, triplet, torch.tensor([0]), "all")
    flip_together(metric, triplet, torch.tensor([0]), "reference")
