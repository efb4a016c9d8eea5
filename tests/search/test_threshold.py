"""Thresholds against scipy, and how often the promise of the confidence is kept."""

from pathlib import Path

import pytest
import torch
from scipy import stats

from percert import create_metric
from percert.search import open_store
from percert.search.query.threshold import auto_threshold, disjoint_pairs, largest_order


@pytest.mark.parametrize("count", [1, 50, 1000])
@pytest.mark.parametrize("p", [1e-3, 0.2])
def test_the_largest_order_is_that_by_scipys_tails(count: int, p: float) -> None:
    order = largest_order(count, p, 0.95)
    assert order == max(
        r for r in range(count + 1) if r == 0 or stats.binom.sf(r - 1, count, p) >= 0.95
    )


def test_the_promised_rate_is_kept_as_often_as_promised() -> None:
    """400 samples of uniform distances, whose true rate at a threshold is the threshold."""
    generator = torch.Generator().manual_seed(0)
    kept = []
    for _ in range(400):
        sample = torch.rand(100, generator=generator, dtype=torch.float64)
        found = auto_threshold(sample, sample[:1], 0.1, confidence=0.9)
        assert found.proven
        kept.append(found.threshold <= 0.1)
    share = sum(kept) / len(kept)
    assert share >= 0.9 - 3 * (0.9 * 0.1 / 400) ** 0.5
    # The largest such threshold: with one order more, the promise would not hold.
    assert share < 0.99


def test_too_few_images_say_so() -> None:
    sample = torch.linspace(0.4, 1, 100, dtype=torch.float64)
    found = auto_threshold(sample, torch.linspace(0.3, 1, 4950), 1e-3)
    assert not found.proven
    assert found.confidence == pytest.approx(1 - 0.999**100)
    assert found.fpr_bound == pytest.approx(1 - 0.05 ** (1 / 100))
    assert found.threshold < 0.4
    assert found.observed <= 1e-3


def test_ties_never_pass() -> None:
    sample = torch.cat([torch.full((30,), 0.25), torch.full((970,), 0.5)])
    found = auto_threshold(sample, sample, 0.02, confidence=0.9)
    assert found.threshold < 0.25
    assert found.observed == 0


def test_pairs_are_disjoint() -> None:
    pairs = disjoint_pairs(11, seed=3)
    assert pairs.shape == (5, 2)
    assert len(pairs.unique()) == 10


def test_a_store_chooses_by_its_own_images(tmp_path: Path) -> None:
    metric = create_metric("thumbnail", device="cpu")
    store = open_store(tmp_path / "store", metric, views="mirror")
    images = torch.rand(60, 3, 16, 16)
    store.add(images, ids=[f"{at:02d}" for at in range(60)])
    found = store.choose_threshold(0.2, confidence=0.9)
    assert found.proven
    assert (found.pairs, found.all_pairs) == (30, 60 * 59 // 2)
    with torch.no_grad():
        h = metric.embed(images)
        mirrored = metric.embed(images.flip(-1))
    g, m = (one / one.norm(dim=1, keepdim=True) for one in (h, mirrored))
    nearest = torch.minimum(1 - g @ g.T, 1 - g @ m.T)
    off = ~torch.eye(60, dtype=torch.bool)
    # The share over ordered pairs; the store looks at each two images one way round.
    assert float((nearest[off] <= found.threshold).double().mean()) == pytest.approx(
        found.observed, abs=0.02
    )


def test_refuses_what_cannot_choose() -> None:
    some = torch.rand(5)
    with pytest.raises(ValueError, match="fpr: expected a rate between 0 and 1, found 0"):
        auto_threshold(some, some, 0)
    with pytest.raises(ValueError, match="at least 2 images"):
        auto_threshold(some[:0], some, 0.1)
    with pytest.raises(ValueError, match="not a number"):
        auto_threshold(some / 0 * 0, some, 0.1)
