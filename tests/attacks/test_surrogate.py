"""The inner problem: Algorithm 1's loop beside a slow twin, closed forms, and duality."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from percert.attacks import Ascent, MoveEmbedding, Untargeted
from percert.attacks.goal import LossName
from percert.attacks.goal_through import Demanding, demanding
from percert.attacks.transport.cost import SquaredL2, cost_of
from percert.attacks.transport.surrogate import (
    climb,
    robust_surrogate,
    surrogate_values,
    validated,
    worst_case_risk,
)
from percert.metrics.full_reference.ssim import SSIM

from .closed_form import Linear, grey_images, near_boundary

SIDE = 12


def scene(count: int = 3, gap: float = 0.3) -> tuple[Linear, Tensor, Untargeted]:
    model = Linear(side=SIDE)
    images = near_boundary(model, count, side=SIDE, gap=gap)
    return model, images, Untargeted(model(images).argmax(1))


def algorithm_1(
    model: Linear, image: Tensor, label: Tensor, cost: SSIM, lam: float, step: float, steps: int
) -> Tensor:
    """Algorithm 1 line by line, for one image ``(1, 3, h, w)``, a = 0 and a clipping validation."""
    moved = image.clone()
    cost_slope = torch.zeros_like(image)
    for k in range(steps):
        at = moved.clone().requires_grad_(True)
        logits = model(at)[0]
        others = torch.cat([logits[: int(label)], logits[int(label) + 1 :]])
        if others.max() - logits[int(label)] > 0:
            return moved
        loss = torch.nn.functional.cross_entropy(logits[None], label[None])
        (slope,) = torch.autograd.grad(loss, at)
        if k % 5 == 0:
            again = moved.clone().requires_grad_(True)
            (cost_slope,) = torch.autograd.grad(cost(image, again).sum(), again)
        moved = (moved + step * (slope - lam * cost_slope)).clamp(0, 1)
    return moved


@pytest.mark.parametrize("lam", [0.0, 1.0, 30.0])
def test_the_loop_is_algorithm_1(lam: float) -> None:
    model, images, goal = scene()
    moved = climb(model, images, goal, SSIM(), lam=lam, step=0.1, steps=40)
    for row in range(len(images)):
        only = slice(row, row + 1)
        expected = algorithm_1(model, images[only], goal.labels[row], SSIM(), lam, 0.1, 40)
        torch.testing.assert_close(moved[only], expected, rtol=0, atol=1e-6)
    assert (goal.margin(model(moved)) > 0).all()


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_without_a_penalty_it_is_gradient_ascent_to_the_bit(loss: LossName) -> None:
    model, images, goal = scene()

    def refuses(reference: Tensor, candidate: Tensor) -> Tensor:
        raise AssertionError("lambda 0 must not ask for the cost")

    expected = images.clone()
    for _ in range(7):
        at = expected.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(goal.loss(model(at), loss).sum(), at)
        expected = (expected + 0.05 * slope).clamp(0, 1)
    moved = climb(model, images, goal, refuses, lam=0, step=0.05, steps=7, loss=loss, stop=False)
    assert torch.equal(moved, expected)


def test_without_a_penalty_its_normalised_form_is_normalised_ascent_to_the_bit() -> None:
    model, images, goal = scene()
    moved = climb(
        model, images, goal, SSIM(), lam=0, step=0.1, steps=20, loss="margin", normalise=True
    )
    assert torch.equal(moved, Ascent(step=0.1, steps=20, rescale_steps=0)(model, images, goal))


@pytest.mark.parametrize(("refresh", "expected"), [(1, 10), (5, 2), (100, 1)])
def test_the_costs_gradient_is_taken_anew_every_few_steps(refresh: int, expected: int) -> None:
    model, images, goal = scene(gap=5.0)
    asked = []

    def counted(reference: Tensor, candidate: Tensor) -> Tensor:
        asked.append(len(candidate))
        return SquaredL2()(reference, candidate)

    climb(model, images, goal, counted, lam=1, step=0.01, steps=10, refresh=refresh)
    assert len(asked) == expected


def test_a_cost_has_no_slope_at_its_reference_and_so_no_say_in_the_first_steps() -> None:
    """Why the published attack is gradient ascent for whatever succeeds within 5 steps."""
    model, images, goal = scene(gap=0.05)
    with_cost = climb(model, images, goal, SSIM(), lam=1e6, step=0.1, steps=5)
    without = climb(model, images, goal, SSIM(), lam=0, step=0.1, steps=5)
    assert torch.equal(with_cost, without)
    ahead = climb(model, images, goal, SSIM(), lam=0.5, step=0.02, steps=1, normalise=True)
    plain = climb(model, images, goal, SSIM(), lam=0.0, step=0.02, steps=1, normalise=True)
    assert (ahead - plain).abs().amax() > 1e-4


def test_a_saturated_loss_gives_way_to_the_margin_where_steps_are_normalised() -> None:
    model, images, goal = scene()

    def saturated(images: Tensor) -> Tensor:
        return 1e4 * model(images)

    options = {"lam": 0.0, "step": 0.1, "steps": 5}
    literal = climb(saturated, images, goal, SSIM(), **options)  # type: ignore[arg-type]
    assert torch.equal(literal, images)
    moved = climb(saturated, images, goal, SSIM(), normalise=True, **options)  # type: ignore[arg-type]
    assert (goal.margin(model(moved)) > 0).all()


def test_validation_clips_rounds_or_truncates_and_keeps_what_a_file_holds() -> None:
    levels = torch.arange(256) / torch.tensor(255.0)
    between = (torch.arange(255) + 0.7) / 255
    assert torch.equal(validated(levels, "truncate"), levels)
    assert torch.equal(validated(levels, "round"), levels)
    assert torch.equal(validated(between, "truncate"), levels[:-1])
    assert torch.equal(validated(between, "round"), levels[1:])
    assert torch.equal(validated(between, "clip"), between)
    assert validated(torch.tensor([-1.0, 2.0]), "clip").tolist() == [0.0, 1.0]


def test_confidence_is_added_to_what_the_goal_asks_for() -> None:
    scores = torch.tensor([[1.0, 3.0]])
    goal = Untargeted(torch.tensor([0]), confidence=0.5)
    assert demanding(goal, 0.0) is goal
    assert isinstance(demanding(goal, 1.0), Demanding)
    assert demanding(goal, 1.0).margin(scores).item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="beyond="):
        demanding(MoveEmbedding(torch.zeros(1, 3, 4, 4)), 0.0)


def test_a_cost_is_named_and_a_wrong_name_is_refused() -> None:
    images = grey_images(2, side=16)
    assert torch.equal(cost_of("squared-l2", images)(images, images), torch.zeros(2))
    with pytest.raises(ValueError, match="did you mean 'ssim'"):
        cost_of("ssmi", images)
    with pytest.raises(ValueError, match=r"cost features: .* layers"):
        cost_of("features", images, model=Linear())


@pytest.mark.parametrize("lam", [2.0, 8.0])
def test_the_surrogate_of_a_linear_loss_and_a_quadratic_cost(lam: float) -> None:
    """sup_x g.(x - x0) - lam |x - x0|^2 = |g|^2 / (4 lam), at x0 + g / (2 lam)."""
    model = Linear(classes=2, side=4)
    images = grey_images(3, side=4).double()
    goal = Untargeted(torch.zeros(3, dtype=torch.long))
    slope = (model.weight[1] - model.weight[0]).view(1, 3, 4, 4)
    worst, value = robust_surrogate(
        model, images, goal, SquaredL2(), lam=lam, step=0.2 / lam, steps=80, loss="margin"
    )
    start = goal.loss(model(images))
    torch.testing.assert_close(worst, images + slope / (2 * lam), rtol=0, atol=1e-7)
    torch.testing.assert_close(value, start + slope.square().sum() / (4 * lam), rtol=0, atol=1e-9)


def test_the_surrogate_is_at_least_the_loss_and_its_slope_that_of_the_worst_x() -> None:
    """Danskin: d phi / d theta = d loss(theta; x*) / d theta, here against finite differences."""
    model, images, goal = scene()
    images = images.double()

    def phi() -> tuple[Tensor, Tensor]:
        return robust_surrogate(model, images, goal, SquaredL2(), lam=3.0, step=0.15, steps=80)

    worst, value = phi()
    assert (value >= goal.loss(model(images), "cross-entropy")).all()
    direction = torch.randn_like(model.weight)
    weight = model.weight.clone()

    def loss_at(shift: float) -> Tensor:
        model.weight = weight + shift * direction
        return goal.loss(model(worst), "cross-entropy")

    expected = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    ends = []
    for shift in (1e-4, -1e-4):
        model.weight = weight + shift * direction
        ends.append(phi()[1])
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-4, expected, rtol=1e-5, atol=1e-5)


def tables(seed: int) -> tuple[Tensor, Tensor]:
    """Losses and costs of 3 samples at 4 places each; staying is free."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    costs = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    costs[:, 0] = 0
    return losses, costs


def primal(losses: Tensor, costs: Tensor, radius: float) -> float:
    """The worst transport plan by linear programming: mass 1/n of each sample to its places."""
    n, m = losses.shape
    sends = np.kron(np.eye(n), np.ones(m))
    plan = linprog(
        -losses.flatten().numpy(),
        A_ub=costs.flatten().numpy()[None],
        b_ub=[radius],
        A_eq=sends,
        b_eq=np.full(n, 1 / n),
    )
    return -float(plan.fun)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), radius=st.floats(0, 0.6))
def test_strong_duality_on_finite_sets(seed: int, radius: float) -> None:
    """Eq. 2 equals the minimum over lambda of Eq. 3 plus lambda times the radius."""
    losses, costs = tables(seed)
    value, lam = worst_case_risk(losses, costs, radius)
    assert value == pytest.approx(primal(losses, costs, radius), abs=1e-7)
    for other in (0.0, 0.5 * lam, lam + 0.3):  # weak duality: any lambda gives an upper bound
        bound = other * radius + surrogate_values(losses, costs, other).mean().item()
        assert bound >= value - 1e-12


@given(seed=st.integers(0, 10_000), low=st.floats(0, 5), more=st.floats(0, 5))
def test_a_larger_lambda_means_a_smaller_surrogate_and_a_nearer_worst_case(
    seed: int, low: float, more: float
) -> None:
    losses, costs = tables(seed)
    small, large = (surrogate_values(losses, costs, lam) for lam in (low, low + more))
    assert (large <= small).all()
    assert (large >= losses[:, 0]).all()
    spent = [
        costs.gather(1, (losses - lam * costs).argmax(1, keepdim=True)) for lam in (low, low + more)
    ]
    assert (spent[1] <= spent[0]).all()


def test_worst_case_risk_refuses_costs_that_no_place_is_free_of() -> None:
    with pytest.raises(ValueError, match="candidate of cost 0"):
        worst_case_risk(torch.zeros(1, 2), torch.ones(1, 2), 1.0)
