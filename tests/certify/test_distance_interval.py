"""Distance intervals against attacks on random embeddings."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.certify import distance_of_features

from .feature_attacks import (
    both_turned,
    cosine_distance,
    features,
    least,
    random_embeddings,
    turned,
)

cases = given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 3, 16, 64]),
    c=st.sampled_from([0.0, 0.0, 0.1, 1.0, 10.0]),
    spread=st.sampled_from([0.05, 0.5, 2.0]),
    eps=st.sampled_from([0.001, 0.1, 1.0, 5.0, 50.0]),
)
MOVERS = {"candidate": (False, True), "reference": (True, False), "both": (True, True)}


@pytest.mark.parametrize("perturbed", list(MOVERS))
@settings(max_examples=12)
@cases
def test_is_never_left_and_is_reached(
    perturbed: str, seed: int, k: int, c: float, spread: float, eps: float
) -> None:
    a, b = random_embeddings(seed, 2, k, spread=spread)
    interval = distance_of_features(features(a, c), features(b, c), eps, perturbed=perturbed)
    now = cosine_distance(a, b, c)
    torch.testing.assert_close(interval.distance, now)
    assert (interval.lower >= 0).all()
    assert (interval.upper <= 2).all()
    assert (interval.lower <= now).all()
    assert (now <= interval.upper).all()
    lengths = [torch.full_like(now, eps * moves) for moves in MOVERS[perturbed]]
    apart, together = (both_turned(a, b, lengths, away=away) for away in (True, False))
    lowest = least(lambda x, y: cosine_distance(x, y, c), [a, b], lengths, starts=[together])
    highest = -least(lambda x, y: -cosine_distance(x, y, c), [a, b], lengths, starts=[apart])
    # Rounding of the distance as it is computed here.
    assert (lowest >= interval.lower - 1e-15).all()
    assert (highest <= interval.upper + 1e-15).all()
    holds = ~interval.lower_paper.isnan()
    assert (lowest >= interval.lower_paper)[holds].all()
    assert (highest <= interval.upper_paper + 1e-15)[holds].all()
    # Rotating stops short by rounding where the two directions meet.
    if c == 0:
        torch.testing.assert_close(interval.lower, lowest, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(interval.upper, highest, rtol=1e-6, atol=1e-6)


@settings(max_examples=10)
@cases
def test_widens_with_eps_and_with_more_movers(
    seed: int, k: int, c: float, spread: float, eps: float
) -> None:
    a, b = (features(h, c) for h in random_embeddings(seed, 2, k, spread=spread))
    for perturbed in MOVERS:
        narrow = distance_of_features(a, b, eps, perturbed=perturbed)
        wide = distance_of_features(a, b, 1.1 * eps, perturbed=perturbed)
        both = distance_of_features(a, b, eps, perturbed="both")
        assert (wide.lower <= narrow.lower).all()
        assert (wide.upper >= narrow.upper).all()
        assert (both.lower <= narrow.lower).all()
        assert (both.upper >= narrow.upper).all()


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_at_eps_0_it_is_the_distance_up_to_the_slack(c: float) -> None:
    a, b = random_embeddings(1, 2, 8)
    exact = distance_of_features(features(a, c), features(b, c), 0.0, perturbed="both")
    torch.testing.assert_close(exact.lower, exact.distance, rtol=0, atol=1e-11)
    torch.testing.assert_close(exact.upper, exact.distance, rtol=0, atol=1e-11)
    slack = features(a, c, feature_error=1e-3), features(b, c, feature_error=1e-3)
    wide = distance_of_features(*slack, 0.0, perturbed="both")
    assert (wide.lower < exact.lower).all()
    # Each embedding may be off by its error when measured, and again when measured anew.
    assert (wide.upper - wide.distance).max() <= 2 * 2 * 1e-3 * (1 + 1e-3)


def test_unequal_sizes_of_images_count_in_their_own_pixels() -> None:
    """Twice the Lipschitz bound is half the norm: as if eps were twice as large."""
    from percert.certify import pixel_features
    from percert.lipschitz.bound import LipschitzBound

    a, b = random_embeddings(2, 2, 8)
    coarse = pixel_features(b, LipschitzBound(2.0, "enlarged"), feature_error=0)
    got = distance_of_features(features(a), coarse, 0.01)
    wanted = distance_of_features(features(a), features(b), 0.02)
    torch.testing.assert_close(got.lower, wanted.lower, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got.upper, wanted.upper, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_refuses_what_is_not_a_budget(eps: float) -> None:
    a, b = (features(h) for h in random_embeddings(3, 2, 4))
    with pytest.raises(ValueError, match="eps: expected a finite number of at least 0"):
        distance_of_features(a, b, eps)


def test_proposition_1_fails_at_norm_1_without_the_constant() -> None:
    """The paper's |d - d'| <= eps needs more than n >= 1: the moved embedding may be shorter."""
    h = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    eps = torch.tensor([0.5], dtype=torch.float64)
    moved = turned(h, torch.tensor([[0.0, 1.0]], dtype=torch.float64), eps, away=False)
    assert torch.allclose((moved - h).norm(dim=1), eps)
    # Seen from where the cosine is steepest, the distance changes by 2 sin(15 degrees) = 0.518.
    seen = torch.tensor([[math.cos(math.radians(105)), math.sin(math.radians(105))]]).double()
    assert (cosine_distance(h, seen) - cosine_distance(moved, seen)).item() > 0.517
    interval = distance_of_features(features(seen), features(h), 0.5)
    assert interval.lower_paper.isnan().all()
    with_constant = distance_of_features(features(seen, 1.0), features(h, 1.0), 0.5)
    assert not with_constant.lower_paper.isnan().any()
