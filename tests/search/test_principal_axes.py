"""Rows along axes: their bound against the exact product, and stores that keep them."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from percert.certify import OwnThreshold
from percert.search import open_store
from percert.search.query import narrowing
from percert.search.query.distances import EmbeddingSpec, make_queries
from percert.search.query.levels import own_levels
from percert.search.query.narrowing import Narrowing
from percert.search.query.nearest import nearest_images
from percert.search.query.top_k import nearest_rows
from percert.search.query.within import rows_within
from percert.search.tables import cache, quantised
from percert.search.tables.cache import EmbeddingBlocks, StoredRows
from percert.search.tables.principal_axes import fit_axes
from percert.search.tables.quantised import columns_at, quantise
from percert.search.tables.turned import Turning

from .conftest import smooth_image
from .memory_blocks import awkward, full_matrix, in_blocks, query_features, turn_rows, unit


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 8, 40, 192, 256]),
    c=st.sampled_from([0.0, 1.0]),
    flat=st.sampled_from([0.0, 1.0, 30.0]),
    alone=st.booleans(),
    shares=st.sampled_from([(1 / 8, 1 / 4, 3 / 4), (1 / 4, 1 / 2, 1), (1,), ()]),
)
def test_no_product_is_above_its_bound(
    seed: int, k: int, c: float, flat: float, alone: bool, shares: tuple[float, ...]
) -> None:
    """With as many slices as there are, and with fewer, and of whole rows; of queries alone or
    together; also of rows that lie along few axes.
    """
    h = awkward(seed, 50, k)
    h += flat * h.norm(dim=1, keepdim=True) * torch.ones(k) / k**0.5
    every = torch.cat([awkward(seed + 1, 3, k), h[:3]])
    turned = turn_rows(h, c, shares, whole=not shares)
    sane = torch.ones(len(h), dtype=torch.bool)
    sane[turned.odd] = False
    for q in every.split(1) if alone else [every]:
        queries = make_queries(query_features(q, c), c)
        exact = unit(q, c) @ unit(h, c).T
        for count in range(len(turned.stages)):
            some = replace(turned, slices=turned.slices[: count + 1])
            if turned.axes is not None:
                some = replace(some, axes=turned.axes.of_cuts(turned.axes.cuts[: count + 1]))
            narrow = Narrowing(some, queries)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(narrowing, "READ_ALL", 1.0)
                patch.setattr(narrowing, "READ_ALL_OF_MANY", 1.0)
                patch.setattr(narrowing, "FEW", 0)
                low = torch.full((len(q),), -9.0, dtype=torch.float64)
                left = narrow.left(slice(0, len(h)), low)
            assert left is not None
            assert len(left.row) == len(q) * len(h)
            margin = narrow.stage(count).margin
            bound = torch.empty(len(q), len(h), dtype=torch.float64)
            bound[left.query, left.row] = left.bound.double()
            assert (bound + margin >= exact)[:, sane].all()
            # And it is one that tells something: all of the axes leave what 8 bits round.
            if shares == () or some.axes is None or some.axes.cuts[-1] == k:
                # A value moves by half of the largest over 127, that of a row and of a query.
                rounded = 2 * k**0.5 / 254 + 0.02
                assert (bound - exact)[:, sane].max() <= 2 * (margin + rounded * (count + 1))


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([1, 5, 64, 128, 192]))
def test_rows_in_8_bits_are_off_by_no_more_than_is_said(seed: int, width: int) -> None:
    rows = awkward(seed, 60, width).clamp(-1e20, 1e20)
    values, scale, error = quantise(rows)
    moved = rows.double() - scale.double()[:, None] * values.double()
    assert (moved.norm(dim=1) <= error.double() * (1 + 1e-6) + 1e-36).all()
    # And by little more than half of a step each.
    assert (error <= scale * (0.51 * width**0.5 + 1e-3)).all()


@pytest.mark.parametrize("queries", [1, 2, 3, 200])
@pytest.mark.parametrize("exactly", [True, False])
def test_products_of_whole_numbers_are_exact(monkeypatch, queries, exactly) -> None:
    """By the processor's own instructions, and where it has none."""
    if not exactly:
        monkeypatch.setattr(quantised, "multiplies_8_bits", lambda width: False)
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(-127, 128, (300, 192), generator=generator, dtype=torch.int8)
    values[0] = 127
    columns = torch.randint(-127, 128, (192, queries), generator=generator, dtype=torch.int8)
    columns[:, 0] = -127
    held = quantised.Slice.empty(300, 192, 2)
    held.keep(values)
    rows = torch.tensor([5, 0, 299])
    expected = values.long() @ columns.long()
    assert torch.equal(held.products(columns).long(), expected)
    assert torch.equal(held.take(rows).products(columns).long(), expected[rows])
    one = held.of_view(1, 3)
    assert torch.equal(one.products(columns).long(), expected[1::3])


def test_a_processor_that_saturates_is_not_relied_on(monkeypatch) -> None:
    quantised.multiplies_8_bits.cache_clear()
    exact = torch._int_mm
    assert quantised.multiplies_8_bits(256)
    for columns in (1, 2, 5):  # of so many alone
        quantised.multiplies_8_bits.cache_clear()

        def saturated(a, b, columns=columns):
            found = exact(a, b)
            return found.clamp(-(2**21), 2**21) if b.shape[1] == columns else found

        monkeypatch.setattr(torch, "_int_mm", saturated)
        assert not quantised.multiplies_8_bits(256)
    monkeypatch.delattr(torch, "_int_mm")
    quantised.multiplies_8_bits.cache_clear()
    assert not quantised.multiplies_8_bits(256)
    quantised.multiplies_8_bits.cache_clear()


@pytest.mark.parametrize("part", [slice(None), slice(5, -5), slice(1, None, 2)])
def test_rows_taken_from_a_part_of_all_copy_these_alone(part: slice) -> None:
    """PyTorch copies all of what is not contiguous before it takes a row of it."""
    values = torch.randint(-127, 128, (2, 4000, 64), dtype=torch.int8)[:, part]
    rows = torch.tensor([7, 0, 1500])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        taken = columns_at(values, rows)
    assert torch.equal(taken, values[:, rows])
    events = watched.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    assert sum(size for size in sizes if size > 0) == taken.numel()


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


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([8, 40]),
    depth=st.sampled_from([1, 5, 20]),
    huge=st.booleans(),
    in_memory=st.booleans(),
    shares=st.sampled_from([(1 / 8, 1 / 4, 3 / 4), (1 / 2,), ()]),
    whole=st.booleans(),
)
def test_a_query_alone_misses_none_of_its_nearest(
    seed: int,
    k: int,
    depth: int,
    huge: bool,
    in_memory: bool,
    shares: tuple[float, ...],
    whole: bool,
) -> None:
    """Whether rows are probed or far away, along axes or whole; with rows too long for float32
    products among them.
    """
    h = awkward(seed, 400, k)
    h += 2 * h.norm(dim=1, keepdim=True) * torch.linspace(1, 0, k) / k**0.5
    if huge:
        h[::50] = torch.nn.functional.normalize(h[::50].double(), dim=1).float() * 1e32
        h[::100] *= -1
    (block,) = in_blocks(h, images=400)()
    block = replace(block, turned=turn_rows(h, 0.0, shares, whole=whole))
    if not in_memory:
        block = replace(block, embeddings=Far(h), _once={})
    for q in (awkward(seed + 1, 1, k), h[7:8], h[101:102] * (1 + 1e-6), -h[7:8]):
        queries = make_queries(query_features(q), 0.0)
        near = nearest_rows([block], queries, depth)
        expected = full_matrix(q, h)[0].sort().values[:depth]
        found = torch.from_numpy(near.distance[0][:depth])
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_of_rows_on_the_disk_those_are_read_that_8_bits_leave() -> None:
    """And not as well the few that earlier slices leave, which would be looked at in memory."""
    h = torch.randn(3000, 64, generator=torch.Generator().manual_seed(0))
    read = []

    class Counted(Far):
        def __getitem__(self, index) -> torch.Tensor:
            read.append(index)
            return super().__getitem__(index)

    (block,) = in_blocks(h, images=3000)()
    turned = turn_rows(h, 0.0, (1 / 2,), whole=True)
    far = replace(block, embeddings=Counted(h), turned=turned, _once={})
    for q in (h[7:8], h[7:9]):
        queries = make_queries(query_features(q), 0.0)
        levels = own_levels(far, OwnThreshold(0.35, 0.0))
        still = torch.zeros(len(q), dtype=torch.float64)
        read.clear()
        found = list(rows_within(far, levels, queries, still))
        assert sorted(place for rows in found for place in rows.place.tolist()) == [7, 8][: len(q)]
        assert set(torch.cat(read).tolist()) == {7, 8} & set(range(7, 7 + len(q)))


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
    # Room for the coordinates, and not for the rows.
    width = store.metric_id.width
    room = rows * (width // 2 + 16 * 4 + 32) + 80 * store.count
    apart = open_store(tmp_path / "store", metric, memory=room)
    narrow = open_store(tmp_path / "store", metric, memory=room - rows * width // 8)
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


def plain(one):
    return [(item.id, item.distance, item.radius) for item in one.items]


@pytest.mark.parametrize("memory", ["all", "some"])
def test_rows_without_few_axes_are_kept_whole_in_8_bits(
    tmp_path, monkeypatch, weighted, memory
) -> None:
    """In memory, and where the rows stay on the disk."""
    monkeypatch.setattr(cache, "LEAST_ROWS", 16)
    monkeypatch.setattr(cache, "LEAST_SHARE", 1.1)
    store = open_store(tmp_path / "store", weighted(0))
    images = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    store.add(images, [str(at) for at in range(200)])
    width = store.metric_id.width
    row = cache.NUMBER_BYTES + cache.NAME_BYTES + width + cache.WHOLE_BYTES
    blocks = EmbeddingBlocks(store.tables, 200 * (row + (4 * width if memory == "all" else 0)))
    spec = EmbeddingSpec(store.metric_id.constant)
    for row in torch.randn(14, width):
        asked = query_features(row[None])
        expected = nearest_images(store.blocks, asked, 3, 0.1, spec)
        found = nearest_images(blocks.searched, asked, 3, 0.1, spec)
        assert plain(found[0]) == plain(expected[0])
    (block,) = list(blocks.searched())
    assert block.turned is not None
    assert block.turned.axes is None
    assert isinstance(block.embeddings, torch.Tensor) == (memory == "all")


def test_an_unsound_row_is_named_and_not_passed_over() -> None:
    h = torch.rand(30, 8)
    h[4, 3] = torch.nan
    (block,) = in_blocks(h, images=30)()
    turning = Turning(fit_axes(torch.eye(8)), 30, 8, 0.0)
    turning.add(block.embeddings, torch.ones(30, dtype=torch.float64))
    assert turning.done() is None
