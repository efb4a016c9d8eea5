"""Exactness against the full matrix in float64, on embeddings chosen to be hard."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from percert.search.query import narrowing, prefilter, top_k, within
from percert.search.query.distances import make_queries
from percert.search.query.levels import Levels
from percert.search.query.rounding import rounding_margin
from percert.search.query.top_k import TopRows, nearest_rows
from percert.search.query.within import rows_within

from .memory_blocks import awkward, full_matrix, in_blocks, query_features, unit

CASES = {
    "seed": st.integers(0, 10**6),
    "k": st.sampled_from([2, 8, 40]),
    "c": st.sampled_from([0.0, 1.0]),
    "turned": st.booleans(),
}


@pytest.fixture(autouse=True, params=["as it comes", "row by row"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of turned rows what is left is read whole while it is much; or each of it alone, always."""
    if request.param == "row by row":
        monkeypatch.setattr(narrowing, "READ_ALL", 1.0)
        monkeypatch.setattr(narrowing, "READ_ALL_OF_MANY", 1.0)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**CASES, limit=st.sampled_from([0.0, 1e-7, 0.3, 0.5, 1.0, 2.0]))
def test_range_search_misses_nothing(
    seed: int, k: int, c: float, turned: bool, limit: float
) -> None:
    h = awkward(seed, 60, k)
    q = torch.cat([awkward(seed + 1, 3, k), h[:2], torch.zeros(1, k)])
    queries = make_queries(query_features(q, c), c)
    still = torch.zeros(len(q), dtype=torch.float64)
    found, start = {}, 0
    for block in in_blocks(h, images=30, turned=c if turned else None)():
        limits = torch.full((len(block.embeddings),), limit, dtype=torch.float64)
        for some in rows_within(block, Levels(limits), queries, still):
            for query, place, distance in zip(some.query, some.place, some.distance, strict=True):
                found[int(query), start + int(place)] = float(distance)
        start += len(block.embeddings)
    expected = full_matrix(q, h, c)
    for query in range(len(q)):
        for place in range(len(h)):
            distance = float(expected[query, place])
            if distance <= limit - 1e-12:
                assert (query, place) in found
            if (query, place) in found:
                assert found[query, place] == pytest.approx(distance, abs=1e-12)
                assert distance <= limit + 1e-12


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**CASES)
def test_range_search_misses_nothing_within_thresholds_of_each_rows_own(
    seed: int, k: int, c: float, turned: bool
) -> None:
    h = awkward(seed, 60, k)
    q = torch.cat([awkward(seed + 1, 3, k), h[:2]])
    queries = make_queries(query_features(q, c), c)
    generator = torch.Generator().manual_seed(seed)
    limits = 2 * torch.rand(60, generator=generator, dtype=torch.float64)
    turns = torch.tensor([0.0, 0.1, 0.5, 1.5, 3.1], dtype=torch.float64)
    (block,) = in_blocks(h, images=60, turned=c if turned else None)()
    found = {
        (int(query), int(place))
        for some in rows_within(block, Levels(limits), queries, turns)
        for query, place in zip(some.query, some.place, strict=True)
    }
    expected = full_matrix(q, h, c)
    for query in range(len(q)):
        for place in range(len(h)):
            own = math.acos(float((1 - limits[place]).clamp(-1, 1)))
            limit = 1 - math.cos(min(math.pi, own + float(turns[query])))
            if expected[query, place] <= limit - 1e-11:
                assert (query, place) in found
            elif expected[query, place] > limit + 1e-11:
                assert (query, place) not in found


def _of(near: TopRows, query: int) -> TopRows:
    """Those of one query."""
    mine, used = slice(query, query + 1), int(near.count[query])
    return TopRows(
        ids=near.ids[mine, :used],
        place=near.place[mine, :used],
        distance=near.distance[mine, :used],
        h=near.h[mine, :used],
        count=near.count[mine],
        complete=near.complete[mine],
        flat=near.flat[mine],
        directed=near.directed,
        views=near.views,
    )


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**CASES, depth=st.sampled_from([1, 4, 100]), views=st.sampled_from([1, 3]))
def test_top_k_is_the_full_matrix_sorted(
    seed: int, k: int, c: float, turned: bool, depth: int, views: int
) -> None:
    h = awkward(seed, 30 * views, k)
    q = torch.cat([awkward(seed + 1, 2, k), h[:2], torch.zeros(1, k)])
    queries = make_queries(query_features(q, c), c)
    collection = in_blocks(h, views=views, turned=c if turned else None)
    near = nearest_rows(collection(), queries, depth)
    expected = full_matrix(q, h, c)
    for at, row in enumerate(expected):
        one = _of(near, at)
        by_image = row.view(-1, views).amin(1)
        nearest = by_image.sort().values[:depth]
        image, place, distance = one.image[0], one.place[0], one.distance[0]
        first_rows = [at for at in range(len(image)) if image[at] not in image[:at]]
        assert len(first_rows) == one.images[0] == min(depth, len(by_image))
        assert one.leads[0].tolist() == first_rows
        assert image[[first_rows[rank] for rank in one.rank[0]]].tolist() == image.tolist()
        torch.testing.assert_close(
            torch.from_numpy(distance[first_rows]), nearest, atol=1e-12, rtol=0
        )
        # No other row of the collection is nearer than the last that is kept.
        others = torch.ones(len(row), dtype=torch.bool)
        others[torch.from_numpy(place)] = False
        assert (row[others] >= distance[-1] - 1e-12).all()
        assert one.complete[0] == (not others.any())
        assert one.flat[0] or not (others & (unit(h, c).norm(dim=1) < 0.5)).any()
        torch.testing.assert_close(one.h[0], h[torch.from_numpy(place)])


def test_exact_ties_come_in_the_order_of_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows equal, far more than are kept: none may be preferred, and memory must not grow."""
    monkeypatch.setattr(prefilter, "ROWS", 64)
    h = torch.ones(700, 5)
    queries = make_queries(query_features(torch.ones(2, 5)), 0.0)
    near = nearest_rows(in_blocks(h, images=100)(), queries, 9)
    assert near.place.tolist() == [list(range(9))] * 2
    assert (near.distance == near.distance[0, 0]).all()


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    h, q = awkward(5, 200, 12), awkward(6, 4, 12)
    queries = make_queries(query_features(q), 0.0)
    whole = nearest_rows(in_blocks(h, images=200)(), queries, 6)
    monkeypatch.setattr(prefilter, "ROWS", 9)
    monkeypatch.setattr(prefilter, "TILE", 4)
    monkeypatch.setattr(prefilter, "VALUES", 24)
    monkeypatch.setattr(within, "VALUES", 24)
    monkeypatch.setattr(within, "WIDE_VALUES", 12)
    monkeypatch.setattr(top_k, "VALUES", 24)
    parts = nearest_rows(in_blocks(h)(), queries, 6)
    assert whole.place.tolist() == parts.place.tolist()
    assert whole.distance.tolist() == parts.distance.tolist()


@pytest.mark.parametrize("k", [1, 7, 192, 1024])
def test_the_rounding_margin_holds(k: int) -> None:
    """Against float64, on vectors that cancel and on those that all point one way."""
    generator = torch.Generator().manual_seed(k)
    worst = 0.0
    for flat in (0.0, 1.0):
        a = torch.rand(64, k, generator=generator) - 0.5 + flat
        b = torch.rand(200, k, generator=generator) - 0.5 + flat
        a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
        off = (a @ b.T).double() - a.double() @ b.double().T
        worst = max(worst, float(off.abs().max()))
    assert worst <= rounding_margin(k, torch.float32)
    assert rounding_margin(k, torch.float64) < 1e-11


def test_an_empty_collection_has_no_rows() -> None:
    queries = make_queries(query_features(torch.ones(2, 4)), 0.0)
    empty = nearest_rows(in_blocks(torch.zeros(0, 4))(), queries, 3)
    assert empty.place.shape == (2, 0)
    assert empty.complete.all()


def test_refuses_what_cannot_be_searched() -> None:
    queries = make_queries(query_features(torch.ones(1, 4)), 0.0)
    limit, still = torch.ones(3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="width 4, found 5"):
        list(rows_within(*in_blocks(torch.ones(3, 5))(), Levels(limit), queries, still))
    holed = torch.ones(3, 4)
    holed[1, 2] = math.nan
    with pytest.raises(ValueError, match="the embedding of 1 is not finite"):
        list(rows_within(*in_blocks(holed)(), Levels(limit), queries, still))
    with pytest.raises(ValueError, match="too wide"):
        rounding_margin(10**8, torch.float32)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), count=st.integers(1, 90), groups=st.integers(1, 90))
def test_each_group_has_its_greatest(seed: int, count: int, groups: int) -> None:
    groups = min(groups, count)
    values = torch.randn(3, count, generator=torch.Generator().manual_seed(seed))
    slow = torch.stack([values[:, at::groups].amax(1) for at in range(groups)], 1)
    assert torch.equal(narrowing.greatest(values, groups), slow)


@pytest.mark.parametrize("count", [1, 3])
def test_a_damaged_embedding_under_a_sound_norm_loses_no_other_row(count: int) -> None:
    h = torch.rand(200, 4) + 0.1
    queries = make_queries(query_features(torch.ones(count, 4)), 0.0)
    limit, still = torch.ones(200, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    (block,) = in_blocks(h, images=200)()
    block.embeddings[7, 2] = math.nan
    with pytest.raises(ValueError, match="not finite, though its norm is"):
        list(rows_within(block, Levels(limit), queries, still))
    with pytest.raises(ValueError, match="not finite, though its norm is"):
        nearest_rows([block], queries, 3)


def test_what_is_kept_does_not_grow_with_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come nearer and nearer, and then equal ones: each is among the nearest so far."""
    held = []
    together = top_k._Kept._together

    def watched(kept: top_k._Kept, sieve: prefilter.Prefilter) -> top_k._Rows:
        held.append(sum(map(len, kept.rows)))
        return together(kept, sieve)

    monkeypatch.setattr(top_k._Kept, "_together", watched)
    angles = torch.cat([torch.linspace(1.5, 0.1, 6000), torch.full((6000,), 0.1)])
    h = torch.stack([angles.cos(), angles.sin()], 1)
    queries = make_queries(query_features(torch.tensor([[1.0, 0.0]])), 0.0)
    near = nearest_rows(in_blocks(h, images=500)(), queries, 5)
    assert near.place.tolist() == [[5999, 6000, 6001, 6002, 6003]]
    assert len(held) > 2
    assert max(held) <= 1024 + 500 + top_k.SPARE * 5
