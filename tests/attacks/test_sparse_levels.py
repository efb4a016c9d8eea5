"""The proximal attack for l1: beside the optimum on linear models, and its contract."""

import pytest
import torch

from percert.attacks import Untargeted, create_attack, judge
from percert.attacks.second_order.integer_step import sparse_levels
from percert.images import round_to_8bit


def linear(seed: int, side: int = 16, reach: float = 4.0):
    """Two images, a linear classifier and the least l1 change, in whole levels, that flips each."""
    generator = torch.Generator().manual_seed(seed)
    images = round_to_8bit(torch.rand(2, 3, side, side, generator=generator))
    gradient = torch.randn(3, side, side, generator=generator)
    bias = (images * gradient).sum((1, 2, 3)) + torch.tensor([0.5, 1.0]) * reach

    def model(some):
        score = (some * gradient).sum((1, 2, 3)) - bias[: len(some)]
        return torch.stack((-score, score), 1)

    least = []
    for image, wanted in zip(images, torch.tensor([0.5, 1.0]) * reach, strict=True):
        # The steepest values first, each to its end: a level of them gains the most.
        room = torch.where(gradient > 0, 1 - image, image).flatten()
        order = gradient.abs().flatten().argsort(descending=True)
        gains = (gradient.abs().flatten() * room)[order].cumsum(0)
        count = int((gains < wanted).sum())
        before = gains[count - 1] if count else 0.0
        rest = (wanted - before) / gradient.abs().flatten()[order[count]]
        least.append(float(room[order[:count]].sum() + rest))
    return model, images, torch.tensor(least)


@pytest.mark.parametrize("seed", range(4))
def test_on_a_linear_model_the_l1_optimum_is_nearly_reached(seed):
    model, images, least = linear(seed)
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    moved = create_attack("ssim-sqp", cost="l1")(model, images, goal)
    verdict = judge(model, images, moved, goal)
    assert verdict.success_8bit.all()
    assert (verdict.images == verdict.images_8bit).all()
    assert (verdict.distances["l1"] >= least * 0.999).all()
    assert (verdict.distances["l1"] < 1.08 * least).all(), verdict.distances["l1"] / least


def test_an_image_does_not_depend_on_its_batch_and_stops_where_told():
    model, images, _ = linear(7)
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    both = sparse_levels(model, images, goal, steps=8, most_steps=8)
    one = sparse_levels(model, images[:1], goal.select(torch.tensor([0])), steps=8, most_steps=8)
    torch.testing.assert_close(both[:1], one, rtol=0, atol=0)
    asked = []

    def watch(done, total, active):
        asked.append((done, total, active))
        return done < 3

    sparse_levels(model, images, goal, steps=8, most_steps=8, watch=watch)
    assert asked == [(0, 8, 2), (1, 8, 2), (2, 8, 2), (3, 8, 2)]


def test_only_images_without_success_go_on_after_the_steps():
    model, images, _ = linear(3)
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    calls = []

    def counted(some):
        calls.append(len(some))
        return model(some) - torch.tensor([0.0, 1e6])  # beyond what any image can reach

    moved = sparse_levels(counted, images, goal, steps=2, most_steps=5)
    assert calls == [2] * 6
    assert ((moved >= 0) & (moved <= 1)).all()
    calls.clear()
    model, images, _ = linear(3, reach=0.01)

    def near(some):
        calls.append(len(some))
        return model(some)

    sparse_levels(near, images, goal, steps=2, most_steps=5)
    assert calls == [2] * 3


def test_no_gradient_no_change_and_no_nan():
    images = round_to_8bit(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)))

    def flat(some):
        return torch.stack((some.sum((1, 2, 3)) * 0 + 1, some.sum((1, 2, 3)) * 0), 1)

    moved = sparse_levels(flat, images, Untargeted(torch.zeros(1).long()), steps=3, most_steps=4)
    torch.testing.assert_close(moved, images)
