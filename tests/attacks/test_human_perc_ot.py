"""Human_Perc_OT: the literal form's settings and flaws, the corrected one against optima."""

import pytest
import torch
from torch import Tensor

from percert.attacks import Untargeted, create_attack, judge
from percert.attacks.goal import LossName
from percert.attacks.minimal.ascent import Ascent
from percert.attacks.transport.human_perc_ot import HumanPercOT, HumanPercOTLiteral
from percert.attacks.transport.polish import polish
from percert.images import round_to_8bit
from percert.metrics.full_reference.ssim import SSIM
from percert.metrics.metric import Distance

from .closed_form import InsideBall, Linear, grey_images, near_boundary
from .small_network import SmallNetwork, clear_images

SIDE = 16


def scene(gap: float = 0.6, count: int = 3) -> tuple[Linear, Tensor, Untargeted]:
    model = Linear(side=SIDE)
    images = near_boundary(model, count, side=SIDE, gap=gap)
    return model, images, Untargeted(model(images).argmax(1))


class Textured:
    """Scores linear in images half of which are flat, so that SSIM has something to choose."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn((1, 3, 32, 32), generator=generator)
        self.weight /= self.weight.norm()
        texture = 0.3 * (torch.rand((1, 3, 32, 32), generator=generator) - 0.5)
        texture[..., :16] *= 0.05
        self.images = round_to_8bit(0.5 + texture)

    def __call__(self, images: Tensor) -> Tensor:
        score = ((images - self.images) * self.weight).flatten(1).sum(1)
        return torch.stack([0.5 - score, score - 0.5], 1)


class SignedCost:
    """Like PieAPP's a score with a sign: the mean change along a pattern, at any image."""

    @staticmethod
    def slope(images: Tensor) -> Tensor:
        pattern = torch.linspace(-1, 1, images.shape[-1]).expand_as(images)
        return 0.05 * pattern

    def __call__(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ((candidate - reference) * self.slope(candidate)).flatten(1).sum(1)


def test_the_literal_forms_defaults_are_the_papers() -> None:
    attack = HumanPercOTLiteral()
    assert (attack.steps, attack.step, attack.lam, attack.confidence) == (100, 0.1, 1.0, 0.0)
    assert (attack.loss, attack.refresh, attack.validate) == ("cross-entropy", 5, "clip")


def test_both_forms_are_in_the_catalog() -> None:
    assert create_attack("human-perc-ot") == HumanPercOT()
    assert create_attack("human-perc-ot-literal", confidence=5.0).confidence == 5.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("validate", ["round", "truncate"])
def test_the_literal_form_can_keep_to_8_bits_in_every_step(validate: str) -> None:
    model, images, goal = scene(gap=0.1)
    images = round_to_8bit(images)
    moved = HumanPercOTLiteral(validate=validate, step=2.0)(model, images, goal)  # type: ignore[arg-type]
    assert torch.equal(moved, round_to_8bit(moved))
    assert judge(model, images, moved, goal).success_8bit.all()


@pytest.mark.parametrize("confidence", [0.0, 0.4])
@pytest.mark.parametrize("literal", [True, False])
def test_confidence_is_the_lead_that_it_stops_at(confidence: float, literal: bool) -> None:
    model, images, goal = scene()
    kind = HumanPercOTLiteral if literal else HumanPercOT
    moved = kind(confidence=confidence, cost="squared-l2", lam=0.01)(model, images, goal)
    lead = goal.margin(model(moved))
    assert (lead > confidence).all()
    assert (lead < confidence + 0.1).all()


def test_without_a_penalty_it_is_normalised_ascent_with_rescale_to_the_bit() -> None:
    model, images, goal = scene()
    corrected = HumanPercOT(lam=0.0, loss="margin")(model, images, goal)
    assert torch.equal(corrected, Ascent()(model, images, goal))


@pytest.mark.parametrize("loss", ["margin", "cross-entropy"])
def test_on_a_linear_model_the_corrected_form_is_within_5_percent_of_the_nearest(
    loss: LossName,
) -> None:
    model, images, goal = scene(gap=1.5)
    images = round_to_8bit(images)
    attack = HumanPercOT(cost="squared-l2", loss=loss)
    verdict = judge(model, images, attack(model, images, goal), goal)
    assert verdict.success_8bit.all()
    nearest = model.distance(images, goal.labels, "l2")
    assert (verdict.distances["l2"] <= 1.05 * nearest).all()


def test_inside_a_ball_it_is_within_5_percent_of_the_sphere() -> None:
    centre = grey_images(1, side=SIDE)
    model = InsideBall(centre, radius=2.0)
    images = round_to_8bit(centre + 0.1 * (grey_images(3, side=SIDE, seed=4) - 0.5))
    goal = Untargeted(torch.zeros(3, dtype=torch.long))
    moved = HumanPercOT(cost="squared-l2")(model, images, goal)
    verdict = judge(model, images, moved, goal)
    assert verdict.success_8bit.all()
    assert (verdict.distances["l2"] <= 1.05 * model.distance(images, "l2")).all()


def test_polishing_finds_the_cheapest_point_of_a_boundary() -> None:
    """min sum h d^2 subject to g.d = b is b^2 / sum(g^2 / h); it starts from the nearest point."""
    model, images, goal = scene(gap=1.5, count=2)
    images = round_to_8bit(images)
    weight = torch.logspace(-0.7, 0.7, SIDE * SIDE).view(1, 1, SIDE, SIDE)

    def cost(reference: Tensor, candidate: Tensor) -> Tensor:
        return (weight * (candidate - reference).square()).flatten(1).sum(1)

    start = Ascent()(model, images, goal)
    moved = polish(model, images, start, goal, cost, steps=40, stride=0.4)
    assert (goal.margin(model(moved)) > 0).all()
    assert torch.equal(moved, round_to_8bit(moved))
    lead = model(images.double()).gather(1, goal.labels[:, None]) - model(images.double())
    apart = (model.weight[goal.labels][:, None] - model.weight).square() / weight.expand(
        1, 3, SIDE, SIDE
    ).reshape(1, 1, -1)
    cheapest = (lead.square() / apart.sum(2)).scatter(1, goal.labels[:, None], torch.inf).amin(1)
    assert (cost(images, start) > 1.3 * cheapest).all()
    assert (cost(images, moved) < 1.1 * cheapest).all()


def test_by_its_own_cost_it_is_cheaper_than_the_fair_baseline_and_the_literal_form() -> None:
    model, goal = Textured(), Untargeted(torch.tensor([0]))
    cost = {"ssim": SSIM()}
    price = {}
    for name, attack in {
        "corrected": HumanPercOT(),
        "unpolished": HumanPercOT(polish=0),
        "ascent": Ascent(),
        "literal": HumanPercOTLiteral(step=1.0, validate="round"),
    }.items():
        moved = attack(model, model.images, goal)
        verdict = judge(model, model.images, moved, goal, metrics=cost)
        assert verdict.success_8bit.all(), name
        price[name] = verdict.distances["ssim"].item()
    assert price["corrected"] <= price["unpolished"]
    assert price["corrected"] < 0.6 * min(price["ascent"], price["literal"])


def test_images_that_the_raw_step_never_moves_are_moved_and_broken() -> None:
    model, images, goal = scene()

    def saturated(images: Tensor) -> Tensor:
        return 1e4 * model(images)

    assert torch.equal(HumanPercOTLiteral()(saturated, images, goal), images)
    moved = HumanPercOT()(saturated, images, goal)
    assert judge(saturated, images, moved, goal).success_8bit.all()


def test_where_the_cost_holds_the_loss_back_the_goal_is_sought_without_it() -> None:
    model, images, goal = scene()

    class Against:
        """A cost that rises as the goal comes nearer: with lam above 1 the ascent turns back."""

        def __call__(self, reference: Tensor, candidate: Tensor) -> Tensor:
            return goal.margin(model(candidate)) - goal.margin(model(reference))

    attack = HumanPercOT(cost=Against(), lam=1.5, loss="margin")
    verdict = judge(model, images, attack(model, images, goal), goal)
    assert verdict.success_8bit.all()
    plain = judge(model, images, HumanPercOT(lam=0.0)(model, images, goal), goal)
    assert (verdict.distances["l2"] < 1.2 * plain.distances["l2"]).all()


def test_one_watch_sees_both_phases_counted_through() -> None:
    model, images, goal = scene()
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int, active: int) -> bool:
        seen.append((done, total))
        return True

    HumanPercOT(polish=4)(model, images, goal, watch=watch)
    assert {total for _, total in seen} == {104}
    counts = [done for done, _ in seen]
    assert counts == sorted(
        counts
    )  # the rescaling asks as well, and counts as the iteration before
    assert sorted({done for done in counts if done >= 100}) == [100, 101, 102, 103, 104]


@pytest.mark.parametrize("kind", [HumanPercOT, HumanPercOTLiteral])
def test_the_cost_may_be_a_metric_instead_of_a_name(kind):
    model = SmallNetwork()
    images, labels = clear_images(model, 2)
    named, given = (kind(cost=cost, steps=10)(model, images, labels) for cost in ("ssim", SSIM()))
    assert torch.equal(named, given)


@pytest.mark.parametrize(("cost", "same"), [("ssim", True), (SignedCost(), False)])
def test_the_penalty_acts_from_the_first_step_on_where_the_cost_has_a_slope_at_the_image(
    cost: str | Distance, same: bool
) -> None:
    model, images, goal = scene(gap=0.6)
    with_it, without = (
        HumanPercOTLiteral(cost=cost, lam=lam, step=0.05, steps=4, refresh=5, loss="margin")(
            model, images, goal
        )
        for lam in (1.0, 0.0)
    )
    assert torch.equal(with_it, without) == same
    if not same:  # every step goes down the cost by the same amount
        taken = 4 * 0.05 * SignedCost.slope(images)
        assert torch.allclose(with_it - without, -taken, atol=1e-5)
