"""Random smoothing against closed forms: a linear classifier knows its smoothed radius exactly."""

import math
from statistics import NormalDist

import pytest
import torch

from percert import create_metric
from percert.certify.smoothing import (
    Noise,
    centre_smoothing,
    smoothed_copies,
    smoothed_decision,
    smoothed_twoafc,
)

NORMAL = NormalDist()


def linear(weights, offset):
    return lambda images: ((images.flatten(1) @ weights) > offset).long()


def test_the_radius_of_a_linear_decision_is_its_distance_from_below():
    """The chance of a half space at distance r is Phi(r / sigma): its smoothed radius is r."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(48, generator=generator, dtype=torch.float64)
    image = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    # So little noise that nothing is clipped.
    noise = Noise(sigma=0.05, samples=2000, confidence=0.999)
    distance = 0.04
    offset = float(image.flatten(1) @ weights) - distance * float(weights.norm())
    found = smoothed_decision(image, linear(weights, offset), noise)
    assert found.decision == 1
    assert 0.8 * distance < found.radius <= distance
    # At the bound itself the smoothed decision is open.
    undecided = smoothed_decision(image, linear(weights, float(image.flatten(1) @ weights)), noise)
    assert undecided.radius < 0.01


def test_draws_are_the_same_whatever_was_asked_before():
    image = torch.rand(1, 3, 5, 5)
    noise = Noise(sigma=0.2, samples=50, batch=7)
    whole = noise.draws(image, lambda x: x.flatten(1), 0, 50)
    parts = [noise.draws(image, lambda x: x.flatten(1), *at) for at in ((0, 20), (20, 30))]
    assert torch.equal(whole, torch.cat(parts))
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_smoothed_answers_of_a_metric():
    metric = create_metric("thumbnail", device="cpu").float()
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    image = 0.25 + image / 2
    noise = Noise(sigma=0.05, samples=200)
    copy = smoothed_copies(metric, image, image, 0.3, noise)
    assert copy.decision == 1
    assert 0 < copy.radius <= noise.sigma * NORMAL.inv_cdf(0.001 ** (1 / 180)) + 1e-12
    other = image.flip(-1)
    choice = smoothed_twoafc(metric, image, other, image, noise)
    assert (choice.decision, choice.samples) == (1, 200)
    assert choice.radius > 0


def test_a_centre_turns_by_no_more_than_it_says():
    """On linear embeddings, smoothed directions of an image that moves by eps."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(48, 6, generator=generator, dtype=torch.float64)
    image = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    noise, eps = Noise(sigma=0.05, samples=4000, batch=4000), 0.02

    def embed(images):
        return images.flatten(1) @ matrix

    found = centre_smoothing(image, embed, eps, noise)
    assert found.turn is not None
    assert 0 < found.turn < math.pi
    for trial in range(5):
        step = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        moved = image + eps * step / step.norm()
        other = centre_smoothing(moved, embed, 0.0, Noise(0.05, 4000, batch=4000, seed=trial + 1))
        between = math.acos(min(1.0, float(found.centre @ other.centre)))
        assert between <= found.turn


def test_it_abstains_where_the_draws_prove_nothing():
    image = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    few = Noise(sigma=0.05, samples=40)
    assert centre_smoothing(image, lambda x: x.flatten(1), 1.0, few).turn is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0}, "sigma: expected more than 0"),
        ({"samples": 3}, "samples: expected at least 10"),
        ({"confidence": 1.0}, "confidence: expected between 0 and 1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Noise(**settings)
