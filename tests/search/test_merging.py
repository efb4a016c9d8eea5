"""A collection in parts is asked as the whole is: rows to the bit, bounds to the last digits."""

from dataclasses import asdict, is_dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.certify import OwnThreshold
from percert.search.query.distances import EmbeddingSpec, make_queries
from percert.search.query.merging import merge_copies, merge_rivals, merge_top_rows
from percert.search.query.nearest import Passes, nearest_by, nearest_images
from percert.search.query.pairs import in_order, pairs_of_part
from percert.search.query.range_search import copies_within
from percert.search.query.second_pass import rivals_within
from percert.search.query.top_k import nearest_rows

from .memory_blocks import awkward, in_blocks, query_features

CASES = {
    "seed": st.integers(0, 10**6),
    "c": st.sampled_from([0.0, 1.0]),
    "views": st.sampled_from([1, 3]),
    "cuts": st.lists(st.integers(0, 60), max_size=3),
    "turned": st.booleans(),
}
IMAGES = 60


def parted(h, views, cuts, c, turned):
    """Opens each part; and how many images it has. Parts may be empty."""
    ends = [0, *sorted(cuts), IMAGES]
    pairs = [(start, end) for start, end in pairwise(ends)]
    along = c if turned else None
    parts = [in_blocks(h[a * views : b * views], 9, views, turned=along) for a, b in pairs]
    return parts, [b - a for a, b in pairs]


def alike(one, other):
    """The same but for the last digits: torch rounds otherwise in a batch of another length."""
    if is_dataclass(one):
        return type(one) is type(other) and alike(asdict(one), asdict(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return one == pytest.approx(other, rel=1e-7, abs=1e-7)
    return one == other


def names_of(parts, sizes):
    """The same, with images called as in the whole."""
    starts = [sum(sizes[:at]) for at in range(len(sizes))]

    def renamed(open_part, start):
        def opened(rows=None):
            for block in open_part(rows):
                block.ids[:] = [str(int(id) + start) for id in block.ids]
                yield block

        return opened

    return [renamed(one, start) for one, start in zip(parts, starts, strict=True)]


@settings(max_examples=25)
@given(**CASES, depth=st.sampled_from([1, 3]), eps=st.sampled_from([None, 0.1, 30.0]))
def test_the_nearest_of_parts_are_those_of_the_whole(seed, c, views, cuts, turned, depth, eps):
    h = awkward(seed, IMAGES * views, 12)
    asked = query_features(torch.cat([awkward(seed + 1, 3, 12), h[:2]]), c)
    spec = EmbeddingSpec(c, 1e-5, views)
    parts, sizes = parted(h, views, cuts, c, turned)
    parts = names_of(parts, sizes)
    passes = Passes(
        lambda queries, deep: merge_top_rows(
            [nearest_rows(one(), queries, deep) for one in parts], sizes, deep, c
        ),
        lambda some: merge_rivals([rivals_within(one(), some, c) for one in parts], sizes, views),
    )
    found = nearest_by(passes, asked, depth, eps, spec)
    whole = nearest_images(in_blocks(h, views=views), asked, depth, eps, spec)
    for one, other in zip(found, whole, strict=True):
        assert one.passes == other.passes
        assert one == other if one.passes == 1 else alike(one, other)
        assert [item.distance for item in one.items] == [item.distance for item in other.items]


@settings(max_examples=25)
@given(**CASES, depth=st.sampled_from([1, 2, 40, 200]))
def test_the_rows_kept_are_those_of_the_whole(seed, c, views, cuts, turned, depth):
    """Also how many there are, and what is said of those that are not kept."""
    h = awkward(seed, IMAGES * views, 5)
    queries = make_queries(query_features(awkward(seed + 1, 4, 5), c), c)
    parts, sizes = parted(h, views, cuts, c, turned)
    parts = names_of(parts, sizes)
    found = merge_top_rows([nearest_rows(one(), queries, depth) for one in parts], sizes, depth, c)
    whole = nearest_rows(in_blocks(h, views=views)(), queries, depth)
    for name in ("place", "distance", "count", "complete", "flat"):
        assert (getattr(found, name) == getattr(whole, name)).all(), name
    assert (found.directed, found.views) == (whole.directed, whole.views)
    filled = whole.place >= 0
    assert (found.ids[filled] == whole.ids[filled]).all()
    assert torch.equal(found.h[torch.from_numpy(filled)], whole.h[torch.from_numpy(filled)])


@settings(max_examples=25)
@given(
    **CASES, threshold=st.sampled_from([0.0, 0.05, 0.5, 2.0]), eps=st.sampled_from([0.0, 0.1, 30.0])
)
def test_copies_and_pairs_of_parts_are_those_of_the_whole(
    seed, c, views, cuts, turned, threshold, eps
):
    h, rule = awkward(seed, IMAGES * views, 12), OwnThreshold(threshold, 0.0)
    asked = {"whole": query_features(torch.cat([awkward(seed + 1, 3, 12), h[:2]]), c)}
    spec = EmbeddingSpec(c, 1e-5, views)
    parts, sizes = parted(h, views, cuts, c, turned)
    parts = names_of(parts, sizes)
    found = merge_copies([copies_within(one, asked, rule, eps, spec) for one in parts], sizes)
    whole = copies_within(in_blocks(h, views=views), asked, rule, eps, spec)
    assert alike(found, whole)
    (block,) = list(in_blocks(h[: 7 * views], 7, views)())
    best, start = {}, 0
    for one, size in zip(parts, sizes, strict=True):
        best |= pairs_of_part(one(), block, 0, rule, spec, start)
        start += size
    joined = pairs_of_part(in_blocks(h, views=views)(), block, 0, rule, spec)
    assert alike(in_order(best), in_order(joined))
