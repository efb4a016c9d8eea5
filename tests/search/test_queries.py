"""Radii against their slow twin, and attacks from inside them, on embeddings and on pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert import create_metric
from percert.audit.attacks import ascend
from percert.certify import nearest_of_features, twoafc_of_features
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance
from percert.search import open_store
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.nearest import nearest_images
from percert.search.query.overtaking import rival_radii, stored_features
from percert.search.query.second_pass import OpenQueries, tangent_queries

from .memory_blocks import full_matrix, in_blocks, query_features, unit


def related(seed: int, count: int, k: int, spread: float) -> Tensor:
    """Rows around a few centres, with equal ones among them."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(4, k, generator=generator)
    h = centres[torch.randint(0, 4, (count,), generator=generator)]
    h = h + spread * torch.randn(count, k, generator=generator)
    h[count // 2] = h[1]
    return h


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 16]),
    c=st.sampled_from([0.0, 1.0]),
    spread=st.sampled_from([0.05, 1.0]),
    depth=st.sampled_from([1, 3]),
)
def test_radii_equal_those_of_a_gallery(
    seed: int, k: int, c: float, spread: float, depth: int
) -> None:
    """With 120 rows many lie beyond those that the first pass keeps."""
    h, q = related(seed, 120, k, spread), related(seed + 1, 2, k, spread)
    q = torch.cat([q, h[1:2]])
    stored = EmbeddingSpec(constant=c)
    for query, one in zip(
        query_features(q, c),
        nearest_images(in_blocks(h), query_features(q, c), depth, 0.1, stored),
        strict=True,
    ):
        twin = nearest_of_features(query, stored_features(h, c, stored.feature_error), depth)
        assert one.items[0].image == twin.index.item()
        assert one.items[0].distance == pytest.approx(twin.distance.item(), abs=1e-12)
        # Never above; a hair below, for the slack is rounded up.
        assert one.radius_first <= twin.radius.item() * (1 + 1e-9) + 1e-12
        assert one.radius_first == pytest.approx(twin.radius.item(), rel=1e-4, abs=1e-6)
        assert one.radius_top_k <= twin.radius_top_k.item() * (1 + 1e-9) + 1e-12
        assert one.radius_top_k >= one.radius_first
        # Every rival that could be first by the rule for triplets is a candidate, and no other.
        rows = stored_features(h, c, stored.feature_error)
        first = stored_features(h[twin.index], c, stored.feature_error)
        radii = twoafc_of_features(query, first, rows).radius
        radii[twin.index] = math.inf
        assert one.candidates is not None
        found = {item.image for item in one.candidates[1:]}
        assert found >= set((radii <= 0.1).nonzero()[:, 0].tolist())
        assert found <= set((radii <= 0.1 + 1e-4).nonzero()[:, 0].tolist())


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    c=st.sampled_from([0.0, 1.0]),
    views=st.sampled_from([1, 3]),
    flat=st.booleans(),
)
def test_no_move_within_a_radius_changes_the_order(
    seed: int, c: float, views: int, flat: bool
) -> None:
    """Moves towards every plane, and random ones, of 0.999 of each radius, in pixel units."""
    h = related(seed, 40 * views, 8, 0.5)
    if flat:
        h[::7] = 0
    q = related(seed + 2, 3, 8, 0.5)
    found = nearest_images(
        in_blocks(h, views=views), query_features(q, c), 4, 0.3, EmbeddingSpec(c, 1e-5, views)
    )
    generator = torch.Generator().manual_seed(seed)
    for query, one in zip(q, found, strict=True):
        to = torch.cat([h - query, query - h, torch.randn(50, 8, generator=generator)]).double()
        to = to / to.norm(dim=1, keepdim=True).clamp_min(1e-30)

        def ranks(length: float, to: Tensor = to, query: Tensor = query) -> Tensor:
            # Embeddings move by the bound of 0.5 times what pixels do.
            moved = query.double() + 0.5 * length * to
            return full_matrix(moved, h, c).view(len(moved), -1, views).amin(2)

        first = one.items[0].image
        if math.isfinite(one.radius_first) and one.radius_first > 0:
            by_image = ranks(0.999 * one.radius_first)
            assert (by_image[:, first] <= by_image.amin(1) + 1e-12).all()
        for item in one.items:
            if 0 < item.radius < math.inf:
                by_image = ranks(0.999 * item.radius)
                nearer = (by_image < by_image[:, [item.image]] - 1e-12).sum(1)
                assert (nearer < 4).all()
        assert one.candidates is not None
        by_image = ranks(0.3 * 0.999)
        possible = torch.zeros(by_image.shape[1], dtype=torch.bool)
        possible[[item.image for item in one.candidates]] = True
        assert possible[by_image.argmin(1)].all()
        for item in (*one.items, *one.candidates):
            assert (by_image[:, item.image] >= item.lower - 1e-12).all()
            assert (by_image[:, item.image] <= item.upper + 1e-12).all()


@settings(max_examples=6)
@given(
    seed=st.integers(0, 10**6),
    c=st.sampled_from([0.0, 1.0]),
    moved=st.sampled_from([0.0, 0.01, 0.3]),
    eps=st.sampled_from([0.0, 0.5, 1e3]),
)
def test_a_second_look_misses_no_rival(seed: int, c: float, moved: float, eps: float) -> None:
    """Of copies, whose first image is far ahead, every rival is found that the slow rule finds."""
    h = torch.randn(150, 24, generator=torch.Generator().manual_seed(seed))
    q = h[3:8] + moved * torch.randn(5, 24, generator=torch.Generator().manual_seed(seed + 1))
    queries, stored = query_features(q, c), EmbeddingSpec(c)
    together = nearest_images(in_blocks(h, images=40), queries, 2, eps, stored)
    rows = stored_features(h, c, stored.feature_error)
    assert eps < 1e3 or all(one.passes == 2 for one in together)
    for at, (query, one) in enumerate(zip(queries, together, strict=True)):
        first = stored_features(h[[3 + at]], c, stored.feature_error)
        radii = rival_radii(query, first, rows)[0]
        radii[3 + at] = math.inf
        assert one.items[0].image == 3 + at
        assert one.radius_first == pytest.approx(float(radii.min()), rel=1e-9, abs=1e-9)
        assert one.candidates is not None
        found = {item.image: item.radius for item in one.candidates[1:]}
        assert set(found) == set((radii <= eps).nonzero()[:, 0].tolist())
        # Each query alone gets the same answer.
        (alone,) = nearest_images(in_blocks(h), [query], 2, eps, stored)
        assert [item.image for item in alone.items] == [item.image for item in one.items]
        assert alone.radius_first == pytest.approx(one.radius_first, rel=1e-9, abs=1e-9)
        assert alone.radius_top_k == pytest.approx(one.radius_top_k, rel=1e-9, abs=1e-9)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    c=st.sampled_from([0.0, 1.0]),
    apart=st.sampled_from([1e-9, 0.3, 1.4, 2.0]),
    error=st.sampled_from([0.0, 1e-5, 0.02]),
)
def test_a_tangent_lets_every_rival_pass(seed: int, c: float, apart: float, error: float) -> None:
    """However the tangent is chosen: rows whose radius is at most what is needed have the product
    that is asked for, and the vector is no longer than 1."""
    h = related(seed, 80, 6, 1.0)
    (query,) = query_features(related(seed + 1, 4, 6, 1.0)[:1], c)
    rows = stored_features(h, c, error)
    first = stored_features(h[:1], c, error)
    radii = rival_radii(query, first, rows)[0]
    for needed in radii.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)):
        doubts = OpenQueries(
            [query], first, needed[None], torch.tensor([apart], dtype=torch.float64)
        )
        between, least = tangent_queries(doubts, c)
        w = torch.cat([between.h, between.last[:, None]], 1)
        assert float(w.norm()) <= 1 + 1e-12
        assert ((unit(h, c) @ w[0])[radii <= needed] >= least).all()


def test_the_first_radius_is_exact() -> None:
    """A step straight to the nearest plane, a little further than the radius, changes the first."""
    h, q = related(3, 60, 16, 1.0).double(), related(4, 3, 16, 1.0).double()
    found = nearest_images(
        in_blocks(h), query_features(q), 3, stored=EmbeddingSpec(feature_error=0.0)
    )
    for query, one in zip(q, found, strict=True):
        g = h / h.norm(dim=1, keepdim=True)
        u = g[one.items[0].image] - g
        u = u / u.norm(dim=1, keepdim=True).clamp_min(1e-300)
        beyond = full_matrix(query - 0.5 * 1.001 * one.radius_first * u, h)
        assert (beyond.argmin(1) != one.items[0].image).any()


def test_equal_images_are_never_certain_of_the_first_place() -> None:
    h = torch.randn(30, 6)
    h[9] = h[4]
    (one,) = nearest_images(in_blocks(h), query_features(h[4:5] + 0.01), 2, 0.0)
    assert [item.image for item in one.items] == [4, 9]
    assert one.radius_first == 0
    assert one.candidates is not None
    assert len(one.candidates) == 2
    assert one.radius_top_k > 0


def test_fewer_images_than_k_and_none_at_all() -> None:
    h = torch.randn(3, 6)
    (one,) = nearest_images(in_blocks(h), query_features(torch.randn(1, 6)), 10, 0.1)
    assert len(one.items) == 3
    assert one.radius_top_k == math.inf
    assert all(item.radius == math.inf for item in one.items)
    (none,) = nearest_images(in_blocks(h[:0]), query_features(torch.randn(1, 6)), 10, 0.1)
    assert none.items == ()
    assert none.candidates == ()
    assert none.radius_first == math.inf
    assert nearest_images(in_blocks(h), [], 3) == []
    with pytest.raises(ValueError, match="k: expected at least 1, found 0"):
        nearest_images(in_blocks(h), query_features(h), 0)
    with pytest.raises(ValueError, match="eps: expected a finite number of at least 0"):
        nearest_images(in_blocks(h), query_features(h), 1, -1.0)


@pytest.mark.parametrize("length", [0.0, 1e-9])
def test_the_last_row_of_the_first_pass_may_have_no_direction(length: float) -> None:
    """What lies beyond it lies beyond 60 degrees, wherever its few digits seem to point."""
    at = torch.tensor([0.9] + [0.95 + 1e-4 * i for i in range(30)] + [3.0] + [-1.0482] * 20)
    h = torch.stack([at.cos(), at.sin()], 1)
    h[31] *= length
    query = query_features(torch.tensor([[1.0, 0.0]]))
    (few,), (all_,) = (nearest_images(in_blocks(h), query, k) for k in (1, 20))
    assert few.radius_first == pytest.approx(all_.radius_first, rel=1e-9)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_query_without_direction_says_nothing_for_certain(value: float) -> None:
    h = torch.randn(90, 6)
    (one,) = nearest_images(in_blocks(h), query_features(torch.full((1, 6), value)), 2, 0.0)
    assert one.radius_first == 0
    assert one.radius_top_k == 0
    assert one.candidates is not None
    assert len(one.candidates) == 90


@pytest.fixture
def metric() -> EmbeddingMetric:
    return create_metric("thumbnail", device="cpu")


def test_attacks_on_pixels_from_inside_the_radius_fail(
    metric: EmbeddingMetric, tmp_path: "object"
) -> None:
    """Gradient ascent on tiny images: for the first place, for the first k, and at eps."""
    images = torch.rand(40, 3, 12, 12)
    images[7] = (images[3] + 0.05 * torch.rand(3, 12, 12)).clamp(0, 1)
    store = open_store(f"{tmp_path}/store", metric)
    store.add(images, ids=[f"{at}" for at in range(40)])
    queries = (images[2:5] + 0.2 * torch.rand(3, 3, 12, 12)).clamp(0, 1)
    answers = store.search(queries, 3, eps=0.4)
    h = metric.embed(images).double()
    attacked = 0
    for query, answer in zip(queries, answers, strict=True):
        first = int(answer.results[0].id)
        for rival in (int(answer.results[1].id), 20):

            def overtaken(x: Tensor, first: int = first, rival: int = rival) -> Tensor:
                moved = metric.embed(x).double()
                near, far = (cosine_distance(moved, h[[at]]) for at in (first, rival))
                return near - far

            for length in {answer.radius_first, 0.4}:
                moved = ascend(
                    overtaken,
                    query[None],
                    torch.tensor([0.999 * length]),
                    steps=10,
                    generator=torch.Generator().manual_seed(rival),
                )
                order = full_matrix(metric.embed(moved).float(), h)[0].argsort()[:3].tolist()
                now = [f"{at}" for at in order]
                if length == answer.radius_first:
                    assert now[0] == answer.results[0].id
                    attacked += 1
                else:
                    assert answer.candidates is not None
                    assert now[0] in {match.id for match in answer.candidates}
                if length < answer.radius_top_k:
                    assert answer.results[0].id in now
    assert attacked >= 6


def test_answers_are_typed_and_named(metric: EmbeddingMetric, tmp_path: "object") -> None:
    store = open_store(f"{tmp_path}/store", metric, views="mirror")
    images = torch.rand(5, 3, 16, 16)
    store.add(images, ids=list("abcde"))
    answers = store.search([images[2].flip(-1), torch.rand(3, 20, 10)], 2, names=["x", "y"])
    assert [answer.query for answer in answers] == ["x", "y"]
    assert (answers[0].results[0].id, answers[0].results[0].view) == ("c", "mirror-whole")
    assert answers[0].results[0].certain
    found = answers[0].to_json()
    assert set(found) == {"query", "k", "results", "radius_first", "radius_top_k", "metric"}
    assert set(found["results"][0]) == {
        "id", "path", "paths", "view", "distance", "lower", "upper", "certain", "radius"
    }  # fmt: skip
    frame = answers.to_pandas()
    assert frame["query"].tolist() == ["x", "x", "y", "y"]
    assert frame["id"].tolist()[0] == "c"
    with pytest.raises(ValueError, match="names: expected 5, one an image, found 1"):
        store.search(images, names=["x"])
