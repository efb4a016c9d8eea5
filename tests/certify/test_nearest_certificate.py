"""The nearest of a gallery against its slow, obvious twin and against attacks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert import create_metric
from percert.certify import nearest, nearest_of_features, twoafc, twoafc_of_features

from .feature_attacks import cosine_distance, direction, features, random_embeddings


def twin(query: Tensor, gallery: Tensor, c: float) -> tuple[int, list[float]]:
    """The nearest row and every rival's radius, one 2AFC after the other, in rising order."""
    distances = cosine_distance(query[None], gallery, c)
    first = int(distances.argmin())
    rivals = [row for row in range(len(gallery)) if row != first]
    radii = [
        float(
            twoafc_of_features(
                features(query[None], c),
                features(gallery[first : first + 1], c),
                features(gallery[row : row + 1], c),
            ).radius
        )
        for row in rivals
    ]
    return first, sorted(radii)


@settings(max_examples=5)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 3, 16]),
    c=st.sampled_from([0.0, 1.0, 10.0]),
    spread=st.sampled_from([0.2, 1.0]),
    depth=st.sampled_from([1, 3]),
)
def test_equals_the_slow_twin(seed: int, k: int, c: float, spread: float, depth: int) -> None:
    """Many related rows (so that the scan must go on) and some far away (so that it can stop)."""
    queries, related = random_embeddings(seed, 2, k, batch=2, spread=spread)
    generator = torch.Generator().manual_seed(seed)
    near = related[:1] + 0.05 * torch.randn(90, k, generator=generator, dtype=torch.float64)
    gallery = torch.cat([near, random_embeddings(seed + 1, 1, k, batch=60)[0]])
    found = nearest_of_features(features(queries, c), features(gallery, c), depth)
    for row, query in enumerate(queries):
        first, radii = twin(query, gallery, c)
        assert found.index[row] == first
        assert found.distance[row] == pytest.approx(
            float(cosine_distance(query, gallery[first], c)), abs=1e-12
        )
        assert found.radius[row] == pytest.approx(radii[0], rel=1e-9, abs=1e-12)
        assert found.radius_top_k[row] == pytest.approx(radii[depth - 1], rel=1e-9, abs=1e-12)


@settings(max_examples=6)
@given(
    seed=st.integers(0, 10**6), k=st.sampled_from([2, 16, 64]), c=st.sampled_from([0.0, 0.5, 10.0])
)
def test_first_place_is_exact_and_the_first_k_hold(seed: int, k: int, c: float) -> None:
    queries, related = random_embeddings(seed, 2, k, batch=20)
    gallery = torch.cat([related, random_embeddings(seed + 1, 1, k, batch=80)[0]])
    found = nearest_of_features(features(queries, c), features(gallery, c), 3)
    g = direction(gallery, c)
    for row, query in enumerate(queries):
        first = int(found.index[row])
        u = (g[first] - g)[:, :-1]
        u = u / u.norm(dim=1, keepdim=True).clamp_min(1e-300)
        radius, deeper = float(found.radius[row]), float(found.radius_top_k[row])

        def rank(at: Tensor, first: int = first) -> Tensor:
            d = cosine_distance(at[:, None], gallery, c)
            return (d < d[:, first : first + 1]).sum(dim=1)

        assert (rank(query - 0.999 * radius * u) == 0).all()
        assert (rank(query - 0.999 * deeper * u) < 3).all()
        if radius > 1e-6 * float(query.norm()):
            assert (rank(query - 1.01 * radius * u) > 0).any()


def test_the_scan_stops_early_in_a_large_gallery() -> None:
    (centre,) = random_embeddings(0, 1, 32, batch=1)
    query = centre + 0.1 * centre.norm() * torch.randn(1, 32, dtype=torch.float64) / math.sqrt(32)
    gallery = torch.cat([centre, torch.randn(1500, 32, dtype=torch.float64)])
    found = nearest_of_features(features(query), features(gallery), 1)
    assert found.index.item() == 0
    assert found.scanned.item() < 200
    _, radii = twin(query[0], gallery, 0.0)
    assert found.radius.item() == pytest.approx(radii[0], rel=1e-9)


def test_a_duplicate_in_the_gallery_is_a_tie() -> None:
    query, other = random_embeddings(1, 2, 8, batch=1)
    gallery = torch.cat([query, query, other])
    found = nearest_of_features(features(query), features(gallery), 2)
    assert found.radius.item() == 0
    assert found.radius_top_k.item() > 0


def test_without_rivals_nothing_can_change() -> None:
    query, only = random_embeddings(2, 2, 8, batch=1)
    found = nearest_of_features(features(query), features(only), 1, ids=["only"])
    assert found.ids == ("only",)
    assert found.radius.isinf().all()
    assert found.radius_top_k.isinf().all()


def test_refuses_galleries_that_cannot_be_searched() -> None:
    query, gallery = random_embeddings(3, 2, 8, batch=4)
    holed = gallery.clone()
    holed[2, 3] = math.nan
    for bad, message in (
        (gallery[:0], "gallery: expected at least 1"),
        (gallery[:, :5], "gallery: expected embeddings of width 8, found 5"),
        (holed, "gallery: row 2 holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            nearest_of_features(features(query), features(bad))
    with pytest.raises(ValueError, match="k: expected at least 1, found 0"):
        nearest_of_features(features(query), features(gallery), 0)
    with pytest.raises(ValueError, match="ids: expected 4, one per embedding, found 1"):
        nearest_of_features(features(query), features(gallery), ids=["a"])


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_where_the_gallery_moves_too_the_nearest_is_that_of_every_triplet(c: float) -> None:
    (query, gallery) = random_embeddings(5, 2, 16, batch=90)
    own, stored = features(query[:6], c), features(gallery, c)
    got = nearest_of_features(own, stored, 3, perturbed="all")
    for row in range(6):
        first = int(got.index[row])
        others = [j for j in range(90) if j != first]
        one, best = own.rows([row]), stored.rows([first])
        radii = twoafc_of_features(one, best, stored.rows(others), perturbed="all").radius
        assert got.radius[row] == pytest.approx(float(radii.min()), rel=1e-9)
        assert got.radius_top_k[row] == pytest.approx(float(radii.sort().values[2]), rel=1e-9)
    alone = nearest_of_features(own, stored, 3)
    assert torch.equal(alone.index, got.index)
    assert (got.radius <= alone.radius).all()


def test_a_gallery_of_one_size_moves_in_its_own_pixels() -> None:
    metric = create_metric("thumbnail", device="cpu")
    images = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    query = (images[:2] + 0.1).clamp(0, 1)
    found = nearest(metric, query, metric.embed(images), gallery_size=(16, 24))
    assert found.index.tolist() == [0, 1]
    for row in range(2):
        radii = [
            twoafc(metric, query[[row]], images[[row]], images[[j]], perturbed="all").radius.item()
            for j in range(5)
            if j != row
        ]
        assert found.radius[row] == pytest.approx(min(radii), rel=1e-6)
