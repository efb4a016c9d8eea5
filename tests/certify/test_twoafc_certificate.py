"""2AFC radii against attacks on random embeddings."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert.certify import twoafc_of_features
from percert.certify.certificate import Certificate

from .feature_attacks import cosine_distance, direction, features, least, random_embeddings, turned

cases = given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 3, 5, 16, 64]),
    c=st.sampled_from([0.0, 0.0, 0.1, 1.0, 10.0]),
    spread=st.sampled_from([0.1, 0.6, 2.0]),
)


def certify(
    triplet: list[Tensor], c: float, perturbed: str, *, feature_error: float = 0.0
) -> Certificate:
    made = [features(h, c, feature_error=feature_error) for h in triplet]
    return twoafc_of_features(*made, perturbed=perturbed)


def sorted_triplet(triplet: list[Tensor], certificate: Certificate) -> list[Tensor]:
    """Reference, the closer candidate, the farther one."""
    v, left, right = triplet
    is_left = certificate.decision[:, None] == 0
    return [v, torch.where(is_left, left, right), torch.where(is_left, right, left)]


def margin(v: Tensor, near: Tensor, far: Tensor, c: float) -> Tensor:
    return cosine_distance(v, far, c) - cosine_distance(v, near, c)


def reference_attack(v: Tensor, near: Tensor, far: Tensor, length: Tensor, c: float) -> Tensor:
    """Straight at the hyperplane between the candidates, within the coordinates of h."""
    u = (direction(near, c) - direction(far, c))[:, :-1]
    return v - length[:, None] * u / u.norm(dim=1, keepdim=True)


def candidates_attack(
    v: Tensor, near: Tensor, far: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    return turned(near, v, length, away=True), turned(far, v, length, away=False)


def edge_directions(v: Tensor, near: Tensor, far: Tensor, e: Tensor, count: int) -> Tensor:
    """Moves of v by e towards planes that touch its safe cone: ``(count, n, k)``, c = 0."""
    g0, g1 = direction(near)[:, :-1], direction(far)[:, :-1]
    f = (g0 - g1).norm(dim=1).div(2).clamp(max=1).asin()
    s = (e / near.norm(dim=1)).clamp(max=1).asin() + (e / far.norm(dim=1)).clamp(max=1).asin()
    p = (g0 + g1) / (g0 + g1).norm(dim=1, keepdim=True)
    q = (g0 - g1) / (g0 - g1).norm(dim=1, keepdim=True)
    rest = v - (v * p).sum(1, keepdim=True) * p - (v * q).sum(1, keepdim=True) * q
    rest = rest / rest.norm(dim=1, keepdim=True).clamp_min(1e-300)
    a = (1 - (f.cos() / (s / 2).cos()).square()).clamp_min(0)
    b = ((f.sin() / (s / 2).sin()).square() - 1).clamp_min(0)
    t = torch.linspace(0, 2 * math.pi, count, dtype=torch.float64)[:, None, None]
    normal = b.sqrt()[:, None] * q - a.sqrt()[:, None] * t.cos() * p - t.sin() * rest
    normal = normal / normal.norm(dim=2, keepdim=True).clamp_min(1e-300)
    return v - e[:, None] * normal


@settings(max_examples=25)
@cases
def test_reference_is_exact(seed: int, k: int, c: float, spread: float) -> None:
    triplet = random_embeddings(seed, 3, k, spread=spread)
    certificate = certify(triplet, c, "reference")
    v, near, far = sorted_triplet(triplet, certificate)
    radius = certificate.radius
    inside = reference_attack(v, near, far, 0.999 * radius, c)
    assert (margin(inside, near, far, c) >= 0).all()
    found = least(
        lambda x: margin(x, near, far, c), [v], [0.999 * radius], starts=[[inside]], steps=10
    )
    assert (found >= 0).all()
    outside = reference_attack(v, near, far, 1.01 * radius, c)
    # Below this, what is certified is itself the rounding that is subtracted.
    clear = radius > 1e-6 * v.norm(dim=1)
    assert clear.float().mean() > 0.5
    assert (margin(outside, near, far, c) < 0)[clear].all()


@settings(max_examples=12)
@cases
def test_candidates_hold_and_are_exact(seed: int, k: int, c: float, spread: float) -> None:
    triplet = random_embeddings(seed, 3, k, spread=spread)
    certificate = certify(triplet, c, "candidates")
    v, near, far = sorted_triplet(triplet, certificate)
    radius = certificate.radius
    inside = candidates_attack(v, near, far, 0.999 * radius)
    found = least(
        lambda a, b: margin(v, a, b, c),
        [near, far],
        [0.999 * radius, 0.999 * radius],
        starts=[inside],
    )
    assert (found >= 0).all()
    if c == 0:
        outside = candidates_attack(v, near, far, 1.01 * radius)
        clear = radius > 1e-6 * near.norm(dim=1).minimum(far.norm(dim=1))
        # At the cap one candidate can just be turned onto the reference, or away: a tie at least.
        assert (margin(v, *outside, c) <= 1e-12)[clear].all()


@settings(max_examples=12)
@cases
def test_all_hold_and_are_exact(seed: int, k: int, c: float, spread: float) -> None:
    triplet = random_embeddings(seed, 3, k, batch=100, spread=spread)
    certificate = certify(triplet, c, "all")
    v, near, far = sorted_triplet(triplet, certificate)
    radius = certificate.radius
    inside = 0.999 * radius
    tried = reference_attack(v, near, far, inside, c)
    found = least(
        lambda x, a, b: margin(x, a, b, c),
        [v, near, far],
        [inside] * 3,
        starts=[[tried, *candidates_attack(tried, near, far, inside)]],
    )
    assert (found >= 0).all()
    if c == 0 and k >= 3:
        for at, flips in ((0.999, False), (1.01, True)):
            e = at * radius
            moved = edge_directions(v, near, far, e, 181)
            a, b = candidates_attack(
                moved, near.expand_as(moved), far.expand_as(moved), e.expand(moved.shape[:2])
            )
            worst = margin(moved, a, b, 0.0).amin(dim=0)
            if not flips:
                assert (worst >= 0).all()
                continue
            clear = radius > 1e-5 * v.norm(dim=1)
            # Where a candidate's whole norm is used up, the radius is that norm.
            assert (worst <= 1e-9)[clear].all()


@settings(max_examples=6)
@cases
def test_fewer_moving_images_have_no_smaller_radius(
    seed: int, k: int, c: float, spread: float
) -> None:
    triplet = random_embeddings(seed, 3, k, spread=spread)
    every = certify(triplet, c, "all")
    for perturbed in ("reference", "candidates"):
        fewer = certify(triplet, c, perturbed)
        assert (every.radius <= fewer.radius).all()
        assert torch.equal(every.decision, fewer.decision)


@pytest.mark.parametrize("perturbed", ["reference", "candidates", "all"])
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_swapping_the_candidates_swaps_the_decision_alone(perturbed: str, c: float) -> None:
    v, left, right = random_embeddings(1, 3, 8)
    one, other = certify([v, left, right], c, perturbed), certify([v, right, left], c, perturbed)
    assert torch.equal(one.decision, 1 - other.decision)
    torch.testing.assert_close(one.radius, other.radius, rtol=1e-9, atol=0)


@pytest.mark.parametrize("k", [2, 16])
def test_a_large_constant_gives_the_euclidean_radius(k: int) -> None:
    h, left, right = random_embeddings(2, 3, k)
    got = certify([h, left, right], 3e3, "reference")
    near, far = (h - left).square().sum(1), (h - right).square().sum(1)
    euclidean = (near - far).abs() / (2 * (left - right).norm(dim=1))
    clear = euclidean > 0.1
    assert clear.sum() > 100
    assert torch.equal(got.decision[clear], (far < near).long()[clear])
    torch.testing.assert_close(got.radius[clear], euclidean[clear], rtol=2e-2, atol=0)


def test_scale_of_the_embedding_scales_the_radius() -> None:
    triplet = random_embeddings(3, 3, 8)
    for perturbed in ("reference", "candidates", "all"):
        one = certify(triplet, 0.0, perturbed).radius
        ten = certify([10 * h for h in triplet], 0.0, perturbed).radius
        torch.testing.assert_close(ten, 10 * one, rtol=1e-6, atol=1e-12)


def test_equal_candidates_are_a_tie() -> None:
    v, left, _ = random_embeddings(4, 3, 8)
    for perturbed in ("reference", "candidates", "all"):
        assert (certify([v, left, left.clone()], 1.0, perturbed).radius == 0).all()


@settings(max_examples=6)
@cases
def test_float_error_of_the_embeddings_is_subtracted(
    seed: int, k: int, c: float, spread: float
) -> None:
    """Whatever noise of relative size 1e-3 the embeddings carry, the decision stands."""
    error = 1e-3
    exact = random_embeddings(seed, 3, k, spread=spread)

    def noisy(h: Tensor) -> Tensor:
        z = torch.randn_like(h)
        return h + error * h.norm(dim=1, keepdim=True) * z / z.norm(dim=1, keepdim=True)

    for perturbed in ("reference", "candidates", "all"):
        certificate = certify([noisy(h) for h in exact], c, perturbed, feature_error=error)
        v, near, far = sorted_triplet(exact, certificate)
        length = 0.999 * certificate.radius
        certified = length > 0
        a, b = near, far
        x = reference_attack(v, near, far, length, c) if perturbed != "candidates" else v
        if perturbed != "reference":
            a, b = candidates_attack(x, near, far, length)
        for _ in range(5):
            assert (margin(noisy(x), noisy(a), noisy(b), c) >= 0)[certified].all()
