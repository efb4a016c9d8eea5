"""The judge: success before and after rounding, and only for images that changed."""

import pytest
import torch

from percert.attacks import LpBall, Untargeted, judge
from percert.metrics import create_metric


def bright(images: torch.Tensor) -> torch.Tensor:
    """Class 1 where the mean pixel is above 1/2."""
    mean = images.mean((1, 2, 3))
    return torch.stack([0.5 - mean, mean - 0.5], 1)


GREY = 127 / 255


def test_rounding_to_8_bits_can_undo_a_success():
    """Half a level above the boundary's level 127.5: 127.9 rounds to 128, 127.45 to 127."""
    images = torch.full((3, 3, 2, 2), GREY)
    moved = torch.full_like(images, 127.9 / 255)
    moved[1] = 127.51 / 255
    moved[1, :, 0] = 127.49 / 255  # the mean is not above 1/2
    moved[2] = 127.45 / 255
    moved[2, :, 0, 0] = 127.9 / 255  # the mean is, but most pixels round down
    verdict = judge(bright, images, moved, Untargeted(torch.zeros(3, dtype=torch.long)))
    assert verdict.achieved.tolist() == [True, False, True]
    assert verdict.achieved_8bit.tolist() == [True, False, False]
    assert (255 * verdict.images_8bit).frac().abs().max() < 1e-4
    torch.testing.assert_close(verdict.margin[0], torch.tensor(2 * 0.4 / 255), atol=1e-6, rtol=0)


def test_an_image_as_it_was_is_no_success_even_where_the_model_errs():
    images = torch.full((2, 3, 2, 2), 0.8)
    images[:] = (images * 255).round() / 255
    moved = images.clone()
    moved[1, 0, 0, 0] += 1e-4  # changes the float image, not the file
    verdict = judge(bright, images, moved, Untargeted(torch.zeros(2, dtype=torch.long)))
    assert (verdict.margin > 0).all()
    assert verdict.achieved.tolist() == [False, True]
    assert verdict.achieved_8bit.tolist() == [False, False]


def test_the_threat_is_judged_before_and_after_rounding():
    images = torch.full((2, 3, 2, 2), GREY)
    moved = images + torch.tensor([0.9, 1.4]).view(2, 1, 1, 1) / 255
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    verdict = judge(bright, images, moved, goal, threat=LpBall("linf", 1.2 / 255))
    assert verdict.within_threat.tolist() == [True, False]
    assert verdict.within_threat_8bit.tolist() == [True, True]
    assert verdict.success.tolist() == [True, False]
    assert verdict.success_8bit.tolist() == [True, True]


def test_distances_are_those_of_the_file():
    images = torch.full((1, 3, 2, 2), GREY)
    moved = images.clone()
    moved[0, 0, 0, 0] += 1.4 / 255
    moved[0, 1, 0, 0] += 0.4 / 255
    metric = create_metric("mse", device="cpu")
    goal = Untargeted(torch.zeros(1, dtype=torch.long))
    verdict = judge(bright, images, moved, goal, metrics={"mse": metric})
    assert set(verdict.distances) == {"l1", "l2", "linf", "mse"}
    for norm in ("l1", "l2", "linf"):
        assert verdict.distances[norm].item() == pytest.approx(1 / 255, rel=1e-4)
    assert torch.equal(verdict.distances["mse"], metric(images, verdict.images_8bit))


@pytest.mark.parametrize("score", [torch.nan, torch.inf])
def test_scores_that_are_not_numbers_are_refused(score):
    """They would count as robust, for nothing is larger than NaN."""

    def model(images):
        scores = bright(images)
        scores[1, 0] = score
        return scores

    images, labels = torch.full((3, 3, 2, 2), 0.2), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="the logits of 1 of 3 images are NaN or infinite"):
        judge(model, images, images + 0.1, Untargeted(labels))


def test_judging_builds_no_graph_and_keeps_the_mode():
    weight = torch.ones(3, requires_grad=True)

    def model(images: torch.Tensor) -> torch.Tensor:
        mean = (images.mean((2, 3)) * weight).sum(1)
        return torch.stack([1 - mean, mean], 1)

    images = torch.full((1, 3, 2, 2), 0.2)
    verdict = judge(model, images, images + 0.1, Untargeted(torch.tensor([0])))
    assert not verdict.margin.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("moved", "count", "message"),
    [
        (torch.full((1, 3, 2, 2), 1.1), 1, "adversarial: values lie in"),
        (torch.full((1, 3, 2, 2), torch.nan), 1, "adversarial: holds NaN"),
        (torch.zeros(1, 3, 2, 3), 1, "adversarial: expected the reference's shape"),
        (torch.zeros(1, 3, 2, 2), 2, "goal: expected 1 entries, one an image, found 2"),
    ],
)
def test_what_does_not_fit_is_refused(moved, count, message):
    goal = Untargeted(torch.zeros(count, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        judge(bright, torch.zeros(1, 3, 2, 2), moved, goal)
