"""Rows along axes: their bound against the exact product, and stores that keep them."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.search import open_store
from percert.search.query import narrowing
from percert.search.query.distances import make_queries
from percert.search.query.narrowing import Narrowing
from percert.search.query.top_k import nearest_rows
from percert.search.tables import cache
from percert.search.tables.cache import StoredRows
from percert.search.tables.principal_axes import Turned, fit_axes

from .conftest import smooth_image
from .memory_blocks import awkward, full_matrix, in_blocks, query_features, turn_rows, unit


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 8, 40, 192]),
    c=st.sampled_from([0.0, 1.0]),
    flat=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_no_product_is_above_its_bound(seed: int, k: int, c: float, flat: float) -> None:
    """With as many slices as there are, and with fewer: also of rows that lie along few axes."""
    h = awkward(seed, 50, k)
    h += flat * h.norm(dim=1, keepdim=True) * torch.ones(k) / k**0.5
    q = torch.cat([awkward(seed + 1, 3, k), h[:3]])
    queries, turned = make_queries(query_features(q, c), c), turn_rows(h, c)
    exact = unit(q, c) @ unit(h, c).T
    sane = torch.ones(len(h), dtype=torch.bool)
    sane[turned.odd] = False
    axes = turned.axes
    while True:
        narrow = Narrowing(axes, queries)
        some = Turned(axes, turned.slices[: len(axes.cuts)], turned.odd)
        low = torch.full((len(q),), -9.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(narrowing, "READ_ALL_OF_MANY", 1.0)
            left = narrow.left(some, slice(None), low)
        assert left is not None
        bound = torch.empty(len(q), len(h), dtype=torch.float64)
        bound[left.query, left.row] = left.bound.double()
        assert (bound + narrow.margin >= exact)[:, sane].all()
        # And it is one that tells something: all of the axes leave the rounding of float32.
        if axes.cuts[-1] == k:
            assert (bound - exact)[:, sane].max() <= 2 * narrow.margin + 0.1
        if len(axes.cuts) == 1:
            break
        axes = axes.shorter()
        # As a store of those axes alone would have been turned.
        assert torch.equal(axes.basis, turned.axes.basis[:, : axes.cuts[-1]])


def test_axes_are_those_along_which_rows_differ_most() -> None:
    """Against the singular vectors of the rows."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 40, generator=generator) * torch.linspace(3, 0.1, 40) ** 2
    rows /= rows.norm(dim=1, keepdim=True)
    axes = fit_axes(rows, (1 / 8, 1 / 4))
    values, vectors = torch.linalg.svd(rows.double(), full_matrices=False)[1:]
    along = (vectors[:10] @ axes.basis.double()).square()
    torch.testing.assert_close(along.sum(0), torch.ones(10, dtype=torch.float64), atol=1e-4, rtol=0)
    expected = float(values[:10].square().sum() / values.square().sum())
    assert axes.cuts == (5, 10)
    assert axes.share == pytest.approx(expected, abs=1e-5)
    assert axes.delta < 1e-5


@dataclass(frozen=True, eq=False)
class Far:
    """Rows that are not in memory, as the search takes them."""

    rows: torch.Tensor

    dtype = torch.float32

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return self.rows.shape

    def __getitem__(self, index) -> torch.Tensor:
        return self.rows[index]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 8, 40, 192]),
    c=st.sampled_from([0.0, 1.0]),
    flat=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_no_product_is_above_its_bound_in_half_precision(
    seed: int, k: int, c: float, flat: float
) -> None:
    """The nearest of a single query, by a slice more or less."""
    h = awkward(seed, 50, k)
    h += flat * h.norm(dim=1, keepdim=True) * torch.ones(k) / k**0.5
    turned = turn_rows(h, c, dtype=torch.bfloat16)
    sane = torch.ones(len(h), dtype=torch.bool)
    sane[turned.odd] = False
    for q in torch.cat([awkward(seed + 1, 3, k), h[:3]]):
        queries = make_queries(query_features(q[None], c), c)
        exact = (unit(h, c) @ unit(q[None], c)[0])[sane]
        for cuts in (turned.axes.cuts, turned.axes.cuts[:1]):
            narrow = Narrowing(turned.axes.of_cuts(cuts), queries, torch.bfloat16)
            some = Turned(narrow.axes, turned.slices[: len(cuts)], turned.odd)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(narrowing, "READ_ALL_COARSE", 1.0)
                left = narrow.left(some, slice(None), torch.full((1,), -9.0))
            assert left is not None
            assert len(left.row) == len(h)
            bound = left.bound.double()[sane]
            assert (bound + narrow.margin >= exact).all()
            if cuts[-1] == k:
                assert (bound - exact).max() <= 2 * narrow.margin + 0.1


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([8, 40]),
    depth=st.sampled_from([1, 5, 20]),
    huge=st.booleans(),
    in_memory=st.booleans(),
    coarse=st.booleans(),
)
def test_a_query_alone_misses_none_of_its_nearest(
    seed: int, k: int, depth: int, huge: bool, in_memory: bool, coarse: bool
) -> None:
    """Whether rows are probed or far away, in half precision or not; with rows too long for float32
    products among them.
    """
    h = awkward(seed, 400, k)
    h += 2 * h.norm(dim=1, keepdim=True) * torch.linspace(1, 0, k) / k**0.5
    if huge:
        h[::50] = torch.nn.functional.normalize(h[::50].double(), dim=1).float() * 1e32
        h[::100] *= -1
    (block,) = in_blocks(h, images=400, turned=0.0)()
    if coarse and in_memory:
        block = replace(block, coarse=turn_rows(h, 0.0, (1 / 4, 1 / 2), torch.bfloat16))
    if not in_memory:
        block = replace(block, embeddings=Far(h), _once={})
    for q in (awkward(seed + 1, 1, k), h[7:8], h[101:102] * (1 + 1e-6), -h[7:8]):
        queries = make_queries(query_features(q), 0.0)
        near = nearest_rows([block], queries, depth)
        expected = full_matrix(q, h)[0].sort().values[:depth]
        found = torch.from_numpy(near.distance[0][:depth])
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("views", ["whole", "small"])
def test_a_store_answers_the_same_from_rows_that_stay_on_the_disk(
    tmp_path, metric, monkeypatch, views
) -> None:
    monkeypatch.setattr(cache, "LEAST_ROWS", 8)
    images = [smooth_image(seed) for seed in range(40)]
    names = [f"{seed:02d}" for seed in range(40)]
    store = open_store(tmp_path / "store", metric, views=views)
    store.add(images[:25], names[:25])
    store.add(images[25:], names[25:])
    store.remove(["03", "17"])
    asked = [images[7], smooth_image(90), images[30].flip(-1)]
    rows = store.count * len(store.views)
    turned = open_store(tmp_path / "store", metric)
    # Room for the first coordinates, and not for the rows.
    apart = open_store(tmp_path / "store", metric, memory=rows * (4 * 120 + 32) + 80 * store.count)
    narrow = open_store(tmp_path / "store", metric, memory=rows * (4 * 30 + 32) + 80 * store.count)
    plain = open_store(tmp_path / "store", metric, memory=100)
    expected = plain.search(asked, 5, 1.0), plain.copies(asked, 0.6, 1.0)
    for other in (turned, apart, narrow):
        for _ in range(3):
            found = other.search(asked, 5, 1.0), other.copies(asked, 0.6, 1.0)
            for one, same in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
                assert [(m.id, m.view, m.certain) for m in one.results] == [
                    (m.id, m.view, m.certain) for m in same.results
                ]
                for mine, theirs in zip(one.results, same.results, strict=True):
                    assert mine.distance == pytest.approx(theirs.distance, abs=1e-12)
                    assert mine.radius == pytest.approx(theirs.radius, rel=1e-9, abs=1e-9)
    (block,) = turned.blocks.searched()
    assert block.turned is not None
    assert isinstance(block.embeddings, torch.Tensor)
    (whole,), (some,) = apart.blocks.searched(), narrow.blocks.searched()
    assert isinstance(whole.embeddings, StoredRows)
    assert whole.turned is not None
    assert some.turned is not None
    assert len(some.turned.slices) < len(whole.turned.slices)
    index = torch.tensor([5, 0, 5, 11, rows - 1])
    assert torch.equal(whole.embeddings[index], block.embeddings[index])
    assert torch.equal(whole.embeddings[3:9], block.embeddings[3:9])
    one, other = whole.of_view(0), block.of_view(0)
    assert torch.equal(one.embeddings[index[:4] // 2], other.embeddings[index[:4] // 2])
    assert len(one.embeddings) == store.count
    # What is called gives all rows themselves, wherever they are.
    assert all(isinstance(part.embeddings, torch.Tensor) for part in apart.blocks())
    # And what is added is found at once.
    apart.add([smooth_image(90)], ["new"])
    assert apart.search([smooth_image(90)], 1)[0].results[0].id == "new"
    plain.refresh()
    links = [len(s.duplicates(0.9).links) for s in (plain, open_store(store.path, metric))]
    assert links[0] == links[1] > 0


def test_rows_without_few_axes_are_not_turned(tmp_path, metric, monkeypatch) -> None:
    monkeypatch.setattr(cache, "LEAST_ROWS", 8)
    monkeypatch.setattr(cache, "LEAST_SHARE", 1.1)
    store = open_store(tmp_path / "store", metric)
    store.add([smooth_image(seed) for seed in range(12)], [str(seed) for seed in range(12)])
    for _ in range(3):
        (block,) = store.blocks.searched()
        assert block.turned is None


def test_an_unsound_row_is_named_and_not_passed_over() -> None:
    h = torch.rand(30, 8)
    h[4, 3] = torch.nan
    (block,) = in_blocks(h, images=30)()
    turning = cache.Turning(fit_axes(torch.eye(8)), 30, 0.0)
    turning.add(block.embeddings, torch.ones(30, dtype=torch.float64))
    assert turning.done() is None
