"""Links against the full matrix, attacks on both of their images, clusters, and kills."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert import create_metric
from percert.certify import OwnThreshold
from percert.certify import copies as certify_copies
from percert.search import open_store
from percert.search.query import pairs as links_module
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.duplicates import DuplicatesJob, clusters, find_pairs
from percert.search.query.pairs import Pair, pairs_within

from .memory_blocks import awkward, full_matrix, in_blocks, unit


@settings(max_examples=5)
@given(
    seed=st.integers(0, 10**6),
    c=st.sampled_from([0.0, 1.0]),
    views=st.sampled_from([1, 3]),
    threshold=st.sampled_from([1e-9, 0.1, 0.5, 2.0]),
    turned=st.booleans(),
)
def test_links_are_those_of_the_full_matrix(
    seed: int, c: float, views: int, threshold: float, turned: bool
) -> None:
    h = awkward(seed, 24 * views, 6)
    bounds = torch.tensor([0.25, 0.5, 1.0])[torch.arange(len(h)) % 3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links_module, "AT_ONCE", 5)
        pairs = [
            pair
            for _, part in pairs_within(
                in_blocks(h, views=views, bounds=bounds),
                OwnThreshold(threshold, 0.0),
                EmbeddingSpec(c, 1e-5, views),
                searched=in_blocks(h, 12, views, bounds, turned=c if turned else None),
            )
            for pair in part
        ]
    # Whole image i (its first view) against the nearest view of image j.
    nearest = full_matrix(h[::views], h, c).view(24, 24, views).amin(2)
    expected = torch.minimum(nearest, nearest.T)
    found = {frozenset((int(pair.first), int(pair.second))) for pair in pairs}
    for i in range(24):
        for j in range(i + 1, 24):
            if abs(float(expected[i, j]) - threshold) > 1e-12:
                assert (frozenset((i, j)) in found) == bool(expected[i, j] <= threshold)
    v = unit(h, c)
    generator = torch.Generator().manual_seed(seed)
    for pair in pairs:
        i, j = int(pair.first) * views, int(pair.second) * views + pair.view
        one, other = h[i].double(), h[j].double()
        if pair.radius <= 0 or not math.isfinite(pair.radius):
            continue
        # Both turn away from each other, and at random, by 0.999 of the radius, each in its pixels.
        away = torch.stack([v[i] - v[j], torch.randn(v.shape[1], generator=generator)])[:, :6]
        away = away / away.norm(dim=1, keepdim=True).clamp_min(1e-30)
        for step in away:
            moved = one + 0.999 * pair.radius * bounds[i] * step
            against = other - 0.999 * pair.radius * bounds[j] * step
            assert full_matrix(moved[None], against[None], c) <= threshold + 1e-12


def test_both_images_of_a_link_may_move(tmp_path: Path) -> None:
    """The radius equals that of the certificate of copies where both images are perturbed."""
    metric = create_metric("thumbnail", device="cpu")
    images = torch.rand(6, 3, 24, 24).repeat_interleave(2, 2)
    images[4] = (images[1] + 0.05 * torch.rand(3, 48, 24)).clamp(0, 1)
    store = open_store(tmp_path / "store", metric)
    store.add(images, ids=list("abcdef"))
    found = store.duplicates(0.1)
    (link,) = found.links
    assert {link.first, link.second} == {"b", "e"}
    expected = certify_copies(metric, images[1:2], images[4:5], 0.1, perturbed="both")
    # Half precision moves what is stored a little, and where it moves that counts.
    assert link.radius == pytest.approx(expected.radius.item(), rel=2e-2)
    assert link.radius <= expected.radius.item()
    (cluster,) = found.clusters
    assert cluster.ids == ("b", "e")
    assert cluster.radius == link.radius
    assert found.compared == 15
    assert found.to_pandas()["radius"].tolist() == [link.radius]


def test_clusters_hold_as_long_as_their_best_tree() -> None:
    """A cluster with a strong way round a weak link is as strong as that way."""
    pairs = [
        Pair("a", "b", 0, 0.1, 0.3, 5.0),
        Pair("b", "c", 0, 0.1, 0.3, 3.0),
        Pair("a", "c", 0, 0.1, 0.3, 0.5),
        Pair("d", "e", 0, 0.1, 0.3, 0.0),
    ]
    found = clusters(pairs)
    assert [(one.ids, one.radius) for one in found] == [(("a", "b", "c"), 3.0), (("d", "e"), 0.0)]


def by_part(collection, rule, skip):
    return pairs_within(collection, rule, skip=skip)


def test_goes_on_after_a_kill_and_never_mixes_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "AT_ONCE", 4)
    parts = partial(by_part, in_blocks(awkward(1, 30, 5)))
    work = DuplicatesJob("memory", 1, 30, ("whole",), "hash", 0.3, 0.0, None)
    whole = find_pairs(parts, work)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_pairs(parts, work, tmp_path, stop)
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == 3
    again: list[int] = []
    resumed = find_pairs(parts, work, tmp_path, lambda done, _: again.append(done))
    assert resumed == whole
    assert len(again) == 8 - 3
    other = DuplicatesJob("memory", 2, 30, ("whole",), "hash", 0.3, 0.0, None)
    with pytest.raises(ValueError, match="of version 1, expected 2"):
        find_pairs(parts, other, tmp_path)
