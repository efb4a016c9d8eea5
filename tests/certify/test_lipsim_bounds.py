"""What LipSim states beside what is proven: where Eq. 8 and Proposition 1 hold, and where not."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.certify import copies_of_features, pixel_features, twoafc_of_features
from percert.lipschitz.bound import LipschitzBound

from .feature_attacks import cosine_distance, direction, features, random_embeddings


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 16, 64]),
    c=st.sampled_from([0.0, 0.5, 1.0, 10.0]),
)
def test_ours_is_at_least_n_times_equation_8(seed: int, k: int, c: float) -> None:
    h, left, right = random_embeddings(seed, 3, k)
    got = twoafc_of_features(features(h, c), features(left, c), features(right, c))
    g0, g1 = direction(left, c), direction(right, c)
    margin = (cosine_distance(h, right, c) - cosine_distance(h, left, c)).abs()
    equation_8 = margin / (g0 - g1).norm(dim=1)
    n = features(h, c).norm
    clear = equation_8 > 1e-6
    assert (got.radius >= n * equation_8 * (1 - 1e-4))[clear].all()
    if c == 0:
        torch.testing.assert_close(got.radius[clear], (n * equation_8)[clear], rtol=1e-4, atol=0)
    assert torch.equal(got.radius_paper.isnan(), n < 1)
    sound = clear & (n >= 1)
    torch.testing.assert_close(got.radius_paper[sound], equation_8[sound], rtol=1e-4, atol=0)
    assert (got.radius_paper <= got.radius)[n >= 1].all()


def test_equation_8_is_broken_where_embeddings_are_short() -> None:
    """The paper's Eq. 11 leaves |h| < 1 where it is: without the constant 1 its radius is wrong."""
    h, left, right = random_embeddings(0, 3, 16, batch=4000)
    h = h / h.norm(dim=1, keepdim=True) * torch.rand(len(h), 1, dtype=torch.float64)
    u = direction(left) - direction(right)
    margin = cosine_distance(h, right) - cosine_distance(h, left)
    equation_8 = margin.abs() / u.norm(dim=1)
    step = (0.999 * equation_8 * margin.sign() / u.norm(dim=1))[:, None]
    attacked = h - step * u[:, :-1]
    flipped = (cosine_distance(attacked, right) - cosine_distance(attacked, left)) * margin < 0
    assert flipped.float().mean() > 0.5
    # With the constant, the same embeddings give radii that hold.
    made = [features(x, 1.0) for x in (h, left, right)]
    assert not twoafc_of_features(*made).radius_paper.isnan().any()


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 16]),
    c=st.sampled_from([0.0, 0.5, 1.0, 10.0]),
    threshold=st.sampled_from([0.05, 0.5, 1.0]),
)
def test_proposition_1_radii_are_below_the_proven_ones(
    seed: int, k: int, c: float, threshold: float
) -> None:
    h, left, right = random_embeddings(seed, 3, k)
    made = [features(x, c) for x in (h, left, right)]
    certificates = [
        *(twoafc_of_features(*made, perturbed=which) for which in ("candidates", "all")),
        *(
            copies_of_features(*made[:2], threshold, perturbed=which)
            for which in ("candidate", "reference", "both")
        ),
    ]
    room = (threshold - cosine_distance(h, left, c)).abs()
    for certificate in certificates:
        holds = ~certificate.radius_paper.isnan()
        assert (certificate.radius_paper <= certificate.radius)[holds].all()
        if c >= 1:
            assert holds[certificate.radius > 0].all()
    if c >= 1:
        clear = room > 1e-6
        # It is what the paper says, not merely some number below ours.
        torch.testing.assert_close(
            certificates[2].radius_paper[clear], room[clear], rtol=1e-5, atol=0
        )


def test_a_lipschitz_bound_divides_every_radius() -> None:
    triplet = random_embeddings(1, 3, 8)
    bound = LipschitzBound(4.0, "four times")
    for perturbed in ("reference", "candidates", "all"):
        one = twoafc_of_features(*(features(h, 1.0) for h in triplet), perturbed=perturbed)
        four = twoafc_of_features(
            *(pixel_features(h, bound, constant=1.0, feature_error=0) for h in triplet),
            perturbed=perturbed,
        )
        torch.testing.assert_close(four.radius, one.radius / 4, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(
            four.radius_paper, one.radius_paper / 4, rtol=1e-6, atol=1e-12, equal_nan=True
        )


def test_tsuzukus_radius_is_half_the_margin_and_never_above_equation_8() -> None:
    h, left, right = random_embeddings(3, 3, 16)
    got = twoafc_of_features(features(h, 1.0), features(left, 1.0), features(right, 1.0))
    margin = (cosine_distance(h, right, 1.0) - cosine_distance(h, left, 1.0)).abs()
    assert got.radius_tsuzuku is not None
    clear = margin > 1e-6
    torch.testing.assert_close(got.radius_tsuzuku[clear], margin[clear] / 2, rtol=1e-4, atol=0)
    assert (got.radius_tsuzuku <= got.radius_paper * (1 + 1e-9))[clear].all()
    both = twoafc_of_features(
        features(h, 1.0), features(left, 1.0), features(right, 1.0), perturbed="all"
    )
    assert both.radius_tsuzuku is None
