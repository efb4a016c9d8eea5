"""Half of the rows' bytes: no row that could be among the nearest is dropped."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.search import open_store
from percert.search.query import prefilter as prefilter_module
from percert.search.query.distances import EmbeddingSpec, make_queries
from percert.search.query.halves import may_be_nearest, sums_in_float32
from percert.search.query.nearest import nearest_images
from percert.search.tables import cache
from percert.search.tables.cache import EmbeddingBlocks
from percert.search.tables.halved import Halving

from .memory_blocks import query_features, unit


def rows_of(seed, count, k, spread):
    """Rows about one direction, with doubles and near doubles among them; float32."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(1, k, generator=generator) + spread * torch.randn(count, k, generator=generator)
    h[count // 2] = h[1]
    h[count // 3] = h[2] * (1 + 2.0**-20)
    return h * 10.0 ** (4 * torch.rand(count, 1, generator=generator) - 2)


def halve(h, c):
    halving = Halving(len(h), h.shape[1], c)
    halving.add(h, h.double().norm(dim=1))
    return halving.done()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([3, 64, 257]),
    c=st.sampled_from([0.0, 1.0]),
    spread=st.sampled_from([0.001, 0.05, 1.0]),
    best=st.sampled_from([1, 5, 40]),
)
def test_the_nearest_rows_are_always_among_those_that_are_left(seed, k, c, spread, best):
    h = rows_of(seed, 300, k, spread)
    halved = halve(h, c)
    assert float((unit(h, c)[:, :k] - halved.rows.double()).norm(dim=1).max()) <= halved.error
    for q in torch.cat([h[:3], rows_of(seed + 1, 6, k, spread)[:2], -h[:1]]):
        queries = make_queries(query_features(q[None], c), c)
        exact = unit(h, c) @ unit(q[None], c)[0]
        for some in (slice(0, 300), slice(100, 300)):
            mine = exact[some]
            nearest = set((mine >= mine.topk(best).values.amin()).nonzero()[:, 0].tolist())
            left = may_be_nearest(halved, some, queries, best, -2.0)
            assert nearest <= set(left.tolist())
            least = float(mine.topk(best).values.amin()) + 1e-4
            above = set((mine >= least).nonzero()[:, 0].tolist())
            assert above <= set(may_be_nearest(halved, some, queries, best, least).tolist())


def test_few_rows_are_left_and_products_of_bfloat16_are_what_they_should_be():
    h = torch.randn(5000, 512, generator=torch.Generator().manual_seed(1))
    queries = make_queries(query_features(h[:1] + 0.5), 0.0)
    if not sums_in_float32(512):
        pytest.skip("products of bfloat16 are rounded on their way here")
    left = may_be_nearest(halve(h, 0.0), slice(0, 5000), queries, 32, -2.0)
    assert 32 <= len(left) < 500


def test_what_is_summed_otherwise_is_not_relied_on(monkeypatch):
    sums_in_float32.cache_clear()
    exact = torch.Tensor.__matmul__

    def rounded(one, other):
        found = exact(one, other)
        return found + 0.05 if one.dtype == torch.bfloat16 else found

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not sums_in_float32(256)
    h = rows_of(3, 40, 256, 1.0)
    queries = make_queries(query_features(h[:1]), 0.0)
    assert may_be_nearest(halve(h, 0.0), slice(0, 40), queries, 3, -2.0) is None
    sums_in_float32.cache_clear()


@pytest.mark.parametrize("row", [torch.zeros(8), torch.full((8,), float("inf")), torch.ones(8) / 0])
def test_rows_for_float64_alone_are_not_halved(row):
    h = torch.randn(10, 8)
    h[4] = row
    assert halve(h, 0.0) is None


def plain(one):
    return [(item.id, item.distance, item.radius) for item in one.items]


@pytest.mark.parametrize("memory", ["all", "some"])
def test_a_store_answers_the_same_by_halves(tmp_path, monkeypatch, weighted, memory):
    """In memory, and where the rows stay on the disk; it is asked often enough to try both."""
    monkeypatch.setattr(cache, "LEAST_ROWS", 16)
    store = open_store(tmp_path / "store", weighted(0))
    images = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    store.add(images, [str(at) for at in range(200)])
    width = store.metric_id.width
    row = cache.NUMBER_BYTES + cache.NAME_BYTES
    limit = 200 * (row + 4 * (2 * width + 16)) if memory == "all" else 200 * (row + 4 * (width - 1))
    if memory == "all":  # halved where axes tell nothing
        monkeypatch.setattr(cache, "LEAST_SHARE", 1.1)
    used = []
    original = prefilter_module.may_be_nearest

    def noted(*arguments):
        found = original(*arguments)
        used.append(found is not None)
        return found

    monkeypatch.setattr(prefilter_module, "may_be_nearest", noted)
    # The first coordinates are taken to tell nothing, so that all rows have to be looked at.
    monkeypatch.setattr(prefilter_module.Narrowing, "left", lambda *_, **__: None)
    blocks = EmbeddingBlocks(store.tables, limit)
    asked = [query_features(row[None]) for row in torch.randn(14, width)]
    spec = EmbeddingSpec(store.metric_id.constant)
    for one in asked:
        expected = nearest_images(store.blocks, one, 3, 0.1, spec)
        found = nearest_images(blocks.searched, one, 3, 0.1, spec)
        assert plain(found[0]) == plain(expected[0])
    (block,) = list(blocks.searched())
    assert block.halved is not None
    assert isinstance(block.embeddings, torch.Tensor) == (memory == "all")
    assert sum(used) > 5
