"""What is dropped by its first coordinates alone must be far for sure: a bound that is short of its
rest loses copies, and that is found.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from percert.certify.features import embed
from percert.certify.pairs import pair_distance
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import Store, open_store
from percert.search.query import narrowing
from percert.search.tables import cache, turned

#: Wide enough that the rest behind the first axes decides of many.
THRESHOLD = 0.9


def pictures(count: int) -> Tensor:
    """Noise of a few pixels' width, which lies along many axes."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (24, 24), mode="bilinear")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(cache, "LEAST_ROWS", 8)
    monkeypatch.setattr(narrowing, "READ_ALL", 1.0)
    monkeypatch.setattr(narrowing, "READ_ALL_OF_MANY", 1.0)
    opened = open_store(tmp_path / "store", Thumbnail(8))
    opened.add(pictures(120), [str(at) for at in range(120)])
    return open_store(tmp_path / "store", Thumbnail(8))


def lost(store: Store) -> int:
    """How many copies, by their distances alone, the store does not list, of ten pictures."""
    images, metric = pictures(120), Thumbnail(8)
    stored, missing = embed(metric, images), 0
    for at in range(10):
        query = embed(metric, images[at : at + 1])
        expected = (pair_distance(query, stored) <= THRESHOLD - 1e-3).nonzero()[:, 0]
        assert len(expected) > 3
        for _ in range(3):  # read, turned, and turned already
            (answer,) = store.copies(images[at : at + 1], THRESHOLD)
        found = {match.id for match in answer.results}
        missing += sum(str(row) not in found for row in expected.tolist())
    (block,) = store.blocks.searched()
    assert block.turned is not None
    return missing


def test_no_copy_is_lost(store: Store) -> None:
    assert lost(store) == 0


@pytest.mark.parametrize("side", ["of the query", "of the rows"])
def test_a_rest_that_is_forgotten_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    if side == "of the query":
        monkeypatch.setattr(narrowing, "_rest_behind", lambda length, *_: 0 * length)
    else:
        none = lambda values, cuts, *_: (torch.zeros(len(values)) for _ in cuts)  # noqa: E731
        monkeypatch.setattr(turned, "rests_behind", none)
    assert lost(store) > 0
