"""A collection indexed in one call: counts, bad images, pruning, and a store migrated likewise."""

import pytest
import torch

from percert.images import save_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import IndexSettings, index_images, open_store, upgrade_store


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name in ("a", "b", "c"):
        save_image(torch.rand(3, 24, 30, generator=generator), folder / f"{name}.png")
    (folder / "twin.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def test_what_became_of_each_image_is_counted(photos, tmp_path):
    told, steps = [], []
    found = index_images(
        tmp_path / "store",
        [photos],
        Thumbnail(8),
        IndexSettings(views="whole"),
        progress=lambda *step: steps.append(step),
        each=lambda outcome: told.append(outcome.what),
    )
    assert found.counts == {"added": 3, "moved": 0, "duplicate": 1, "unchanged": 0}
    assert sorted(told) == ["added", "added", "added", "duplicate"]
    assert [(one.path, one.what) for one in found.bad] == [(str(photos / "bad.png"), "bad")]
    assert found.total == 5
    assert steps == [("adding", done, 5) for done in range(5)]
    assert found.store.count == open_store(tmp_path / "store").count == 3
    assert found.pruned is None
    (photos / "b.png").unlink()
    again = index_images(tmp_path / "store", [photos], Thumbnail(8), IndexSettings(prune=True))
    assert again.counts == {"added": 0, "moved": 0, "duplicate": 0, "unchanged": 3}
    assert again.pruned.files == [str(photos / "b.png")]
    assert again.store.count == 2


def test_a_new_store_takes_the_standard_views(photos, tmp_path):
    found = index_images(tmp_path / "store", [photos / "a.png"], Thumbnail(8))
    assert len(found.store.views) == 11


def test_no_store_is_made_for_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no images found"):
        index_images(tmp_path / "store", [tmp_path / "empty"], Thumbnail(8))
    assert not (tmp_path / "store").exists()


def test_a_store_is_migrated_by_one_call(photos, tmp_path):
    old = index_images(tmp_path / "old", [photos], Thumbnail(8), IndexSettings(views="whole"))
    old.store.add(torch.rand(1, 3, 20, 20), ids=["tensor"])
    (photos / "c.png").unlink()
    for expected in ({"added": 2, "duplicate": 1}, {"unchanged": 3}):
        found = upgrade_store(str(tmp_path / "old"), str(tmp_path / "new"), Thumbnail(8), "small")
        assert {what: count for what, count in found.counts.items() if count} == expected
    assert (found.old.count, found.new.count, found.without_file, found.bad) == (4, 2, 2, [])
    assert len(found.new.views) == 4
