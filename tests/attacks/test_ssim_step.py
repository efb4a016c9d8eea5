"""Eq. 5: the Newton step of the SSIM surrogate, dense and matrix-free."""

import pytest
import torch
from torch import Tensor

from percert.attacks import Untargeted, judge, parse_attack
from percert.attacks.second_order.ssim_step import (
    Border,
    SSIMStep,
    dense_hessian,
    extended,
    folded,
    hessian,
    least_step,
    ssim_newton_step,
)
from percert.images import round_to_8bit
from percert.metrics.full_reference.ssim import SSIM, ssim_distance
from percert.tensors import l2_norm

from .closed_form import Linear, near_boundary

BORDERS: tuple[Border, ...] = ("reflect", "valid")
borders = pytest.mark.parametrize("border", BORDERS)


def pictures(count: int = 2, side: int = 14) -> Tensor:
    """Half flat, half textured, float64."""
    images = 0.4 + 0.2 * torch.rand(count, 3, side, side, dtype=torch.float64)
    images[..., : side // 2] = images[..., :1, :1]
    return images


@borders
def test_the_dense_hessian_is_that_of_automatic_differentiation(border: Border) -> None:
    image = pictures(1, 12)[0, 0]

    def cost(change: Tensor) -> Tensor:
        both = extended(torch.stack([image, image + change])[:, None], border)
        both = both.expand(2, 3, -1, -1)
        return ssim_distance(both[:1], both[1:]).sum()

    expected = torch.autograd.functional.hessian(cost, torch.zeros_like(image))
    whole = dense_hessian(image, border)
    torch.testing.assert_close(whole, expected.view(144, 144), rtol=1e-9, atol=1e-12)
    assert torch.linalg.eigvalsh(whole).min() > 0


@borders
def test_products_with_the_hessian_are_those_of_the_dense_one(border: Border) -> None:
    images = pictures()
    vectors = torch.randn_like(images)
    product, diagonal = hessian(images, border)
    assert (diagonal > 0).all()
    found = product(vectors)
    for i in range(2):
        for c in range(3):
            expected = dense_hessian(images[i, c], border) @ vectors[i, c].flatten() / 3
            torch.testing.assert_close(found[i, c].flatten(), expected, rtol=1e-9, atol=1e-12)


def test_folding_is_the_transpose_of_reflecting() -> None:
    inside, outside = torch.randn(1, 2, 12, 13).double(), torch.randn(1, 2, 22, 23).double()
    left = (extended(inside, "reflect") * outside).sum()
    torch.testing.assert_close(left, (inside * folded(outside, "reflect")).sum())


@borders
def test_conjugate_gradients_give_the_dense_solution(border: Border) -> None:
    images = pictures()
    slope = torch.randn_like(images)
    dense = ssim_newton_step(images, slope, border=border, solver="dense")
    iterated = ssim_newton_step(
        images, slope, border=border, solver="cg", iterations=600, tolerance=1e-10
    )
    assert (l2_norm(dense - iterated) <= 1e-7 * l2_norm(dense)).all()


@borders
def test_it_maximises_the_second_order_model(border: Border) -> None:
    """g.D - lam / 2 D.HD: stationary at D, and no other D' is better (it is concave)."""
    images = pictures(1)
    slope, lam = torch.randn_like(images), 3.0
    step = ssim_newton_step(images, slope, lam=lam, border=border)
    product, _ = hessian(images, border)
    torch.testing.assert_close(lam * product(step), slope, rtol=1e-6, atol=1e-6)

    def model(change: Tensor) -> float:
        return float((slope * change).sum() - lam / 2 * (change * product(change)).sum())

    best = model(step)
    assert best == pytest.approx(0.5 * float((slope * step).sum()))
    for scale in (0.0, 0.9, 1.1):
        assert model(scale * step) < best
    for _ in range(5):
        assert model(step + 0.1 * step.norm() * torch.randn_like(step) / 30) < best


def test_a_grey_image_in_three_channels_has_the_grey_images_step() -> None:
    """For a model of the channels' mean, whose slope is a third of the grey one in each."""
    grey = pictures()[:, :1]
    slope = torch.randn_like(grey)
    expected = ssim_newton_step(grey, slope)
    for solver in ("dense", "cg"):
        step = ssim_newton_step(
            grey.repeat(1, 3, 1, 1),
            slope.repeat(1, 3, 1, 1) / 3,
            solver=solver,  # type: ignore[arg-type]
            iterations=600,
            tolerance=1e-10,
        )
        torch.testing.assert_close(step, expected.repeat(1, 3, 1, 1), rtol=1e-6, atol=1e-6)


def scene() -> tuple[Linear, Tensor, Untargeted]:
    model = Linear(side=16)
    images = round_to_8bit(near_boundary(model, 3, side=16, gap=0.8))
    return model, images, Untargeted(model(images).argmax(1))


def test_eps_is_the_length_and_lambda_cancels() -> None:
    model, images, goal = scene()
    moved = SSIMStep(eps=0.5)(model, images, goal)
    torch.testing.assert_close(l2_norm(moved - images), torch.full((3,), 0.5))
    other = SSIMStep(eps=0.5, lam=7.0)(model, images, goal)
    torch.testing.assert_close(other, moved, rtol=0, atol=1e-6)


def test_without_eps_the_step_is_the_surrogates_own() -> None:
    model, images, goal = scene()
    one, ten = (SSIMStep(eps=None, lam=lam)(model, images, goal) for lam in (1e4, 1e5))
    assert (l2_norm(one - images) > 0).all()
    torch.testing.assert_close(one - images, 10 * (ten - images), rtol=0, atol=1e-5)


def test_the_search_ends_just_inside() -> None:
    model, images, goal = scene()
    moved = SSIMStep(search=True)(model, images, goal)
    assert torch.equal(moved, round_to_8bit(moved))
    lead = goal.margin(model(moved))
    assert (lead > 0).all()
    shorter = round_to_8bit(images + 0.9 * (moved - images))
    assert (goal.margin(model(shorter)) < 0).all()


def test_at_equal_success_it_costs_less_ssim_than_the_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn((1, 3, 24, 24), generator=generator)
    image = round_to_8bit(pictures(1, 24).float())

    def model(images: Tensor) -> Tensor:
        score = ((images - image) * weight).flatten(1).sum(1) - 8
        return torch.stack([-score, score], 1)

    goal = Untargeted(torch.tensor([0]))
    metrics = {"ssim": SSIM()}
    newton = judge(model, image, SSIMStep(search=True)(model, image, goal), goal, metrics=metrics)
    plain = judge(model, image, least_step(model, image, weight, goal), goal, metrics=metrics)
    assert newton.success_8bit.all()
    assert plain.success_8bit.all()
    assert newton.distances["ssim"] < 0.5 * plain.distances["ssim"]


def test_settings_are_read_and_wrong_ones_refused() -> None:
    attack = parse_attack("ssim-step:eps=none,search=true,solver=cg")[1]
    assert attack == SSIMStep(eps=None, search=True, solver="cg")
    images = torch.rand(1, 3, 80, 80)
    with pytest.raises(ValueError, match="at most 4096 pixels, found 80 x 80"):
        ssim_newton_step(images, images, solver="dense")
    with pytest.raises(ValueError, match="lam: expected more than 0"):
        ssim_newton_step(images, images, lam=0)
    with pytest.raises(ValueError, match="border: expected one of"):
        ssim_newton_step(images, images, border="zero")  # type: ignore[arg-type]
