"""Copy radii against attacks on random embeddings, on either side of the threshold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert.certify import copies_of_features, distance_of_features
from percert.certify.certificate import Certificate

from .feature_attacks import both_turned, cosine_distance, features, least, random_embeddings

cases = given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 3, 16, 64]),
    c=st.sampled_from([0.0, 0.0, 0.1, 1.0, 10.0]),
    spread=st.sampled_from([0.05, 0.5, 2.0]),
    threshold=st.sampled_from([1e-4, 0.05, 0.3, 1.0, 1.7]),
)
MOVERS = {"candidate": (False, True), "reference": (True, False), "both": (True, True)}


def certify(
    pair: list[Tensor], c: float, threshold: float, perturbed: str, *, feature_error: float = 0.0
) -> Certificate:
    made = [features(h, c, feature_error=feature_error) for h in pair]
    return copies_of_features(*made, threshold, perturbed=perturbed)


def slack(a: Tensor, b: Tensor, c: float, threshold: float, is_copy: Tensor) -> Tensor:
    """At least 0 while the decision stands."""
    room = threshold - cosine_distance(a, b, c)
    return torch.where(is_copy, room, -room)


def attack(a: Tensor, b: Tensor, lengths: list[Tensor], is_copy: Tensor) -> tuple[Tensor, Tensor]:
    """Both turn apart where they are copies, and together where they are not; c = 0."""
    apart, together = (both_turned(a, b, lengths, away=away) for away in (True, False))
    chosen = [torch.where(is_copy[:, None], x, y) for x, y in zip(apart, together, strict=True)]
    return chosen[0], chosen[1]


@pytest.mark.parametrize("perturbed", list(MOVERS))
@settings(max_examples=12)
@cases
def test_holds_and_is_exact(
    perturbed: str, seed: int, k: int, c: float, spread: float, threshold: float
) -> None:
    a, b = random_embeddings(seed, 2, k, spread=spread)
    certificate = certify([a, b], c, threshold, perturbed)
    decision, radius = certificate.decision, certificate.radius
    assert torch.equal(decision, cosine_distance(a, b, c) <= threshold)
    finite = radius.isfinite()
    tried = torch.where(finite, radius, 1e3)
    inside = [0.999 * tried * moves for moves in MOVERS[perturbed]]
    found = least(
        lambda x, y: slack(x, y, c, threshold, decision),
        [a, b],
        inside,
        starts=[attack(a, b, inside, decision)],
    )
    assert (found >= 0).all()
    if c == 0:
        assert finite.all()
        outside = [1.01 * radius * moves for moves in MOVERS[perturbed]]
        norm = torch.minimum(a.norm(dim=1), b.norm(dim=1))
        clear = radius > 1e-6 * norm
        after = slack(*attack(a, b, outside, decision), 0.0, threshold, decision)
        assert (after < 1e-12)[clear].all()


@settings(max_examples=10)
@cases
def test_both_is_at_most_each_alone(
    seed: int, k: int, c: float, spread: float, threshold: float
) -> None:
    pair = random_embeddings(seed, 2, k, spread=spread)
    both = certify(pair, c, threshold, "both").radius
    for perturbed in ("candidate", "reference"):
        alone = certify(pair, c, threshold, perturbed).radius
        assert (both <= alone * (1 + 1e-9)).all()


@pytest.mark.parametrize("perturbed", list(MOVERS))
@settings(max_examples=8)
@cases
def test_agrees_with_the_interval(
    perturbed: str, seed: int, k: int, c: float, spread: float, threshold: float
) -> None:
    """Just inside the radius the interval lies on one side of the threshold, just outside not."""
    a, b = random_embeddings(seed, 2, k, batch=5, spread=spread)
    certificate = certify([a, b], c, threshold, perturbed)
    for row in range(5):
        radius = float(certificate.radius[row])
        if not 1e-6 * float(a[row].norm().minimum(b[row].norm())) < radius < math.inf:
            continue
        pair = features(a[row : row + 1], c), features(b[row : row + 1], c)
        inside = distance_of_features(*pair, radius * (1 - 1e-6), perturbed=perturbed)
        outside = distance_of_features(*pair, radius * (1 + 1e-6), perturbed=perturbed)
        if certificate.decision[row]:
            assert inside.upper <= threshold <= outside.upper
        else:
            assert inside.lower >= threshold >= outside.lower


@pytest.mark.parametrize("perturbed", list(MOVERS))
def test_radius_is_monotone_in_the_threshold(perturbed: str) -> None:
    pair = random_embeddings(5, 2, 8)
    before = None
    for threshold in (0.01, 0.1, 0.3, 0.8, 1.2):
        certificate = certify(pair, 0.0, threshold, perturbed)
        signed = torch.where(certificate.decision, certificate.radius, -certificate.radius)
        assert before is None or (signed >= before).all()
        before = signed


def test_a_threshold_out_of_reach_has_an_infinite_radius() -> None:
    """With c > 0 no move of h turns v further than atan(|h| / c) + pi / 2."""
    a = torch.tensor([[0.1, 0.0]], dtype=torch.float64)
    certificate = certify([a, a], 1.0, 1.5, "candidate")
    assert certificate.decision.all()
    assert certificate.radius.isinf().all()
    far = torch.tensor([[-1e9, 0.0]], dtype=torch.float64)
    assert cosine_distance(a, far, 1.0) < 1.5


@pytest.mark.parametrize("threshold", [-0.1, 2.1, math.nan])
def test_refuses_what_is_not_a_distance(threshold: float) -> None:
    pair = random_embeddings(6, 2, 4)
    with pytest.raises(ValueError, match="threshold: expected a cosine distance in"):
        certify(pair, 0.0, threshold, "candidate")


@settings(max_examples=6)
@cases
def test_float_error_of_the_embeddings_is_subtracted(
    seed: int, k: int, c: float, spread: float, threshold: float
) -> None:
    error = 1e-3
    exact = random_embeddings(seed, 2, k, spread=spread)

    def noisy(h: Tensor) -> Tensor:
        z = torch.randn_like(h)
        return h + error * h.norm(dim=1, keepdim=True) * z / z.norm(dim=1, keepdim=True)

    for perturbed, moves in MOVERS.items():
        certificate = certify(
            [noisy(h) for h in exact], c, threshold, perturbed, feature_error=error
        )
        tried = torch.where(certificate.radius.isfinite(), certificate.radius, 1e3)
        moved = attack(*exact, [0.999 * tried * one for one in moves], certificate.decision)
        for _ in range(5):
            pair = [noisy(h) for h in moved]
            room = slack(*pair, c, threshold, certificate.decision)
            assert (room >= 0)[certificate.radius > 0].all()


@pytest.mark.parametrize("perturbed", MOVERS)
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_at_threshold_2_every_pair_is_a_copy_for_good(c: float, perturbed: str) -> None:
    (h,) = random_embeddings(0, 1, 5)
    for other in (h, -h, torch.zeros_like(h)):
        made = certify([h, other], c, 2.0, perturbed)
        assert made.decision.all()
        assert made.radius.isinf().all()
    # A little less is another matter: what is opposite is none.
    assert not certify([h, -h], 0.0, 2 - 1e-9, perturbed).decision.any()
