"""A store gives back what was put in, to the bit, and refuses what is not its own."""

import os

import numpy as np
import pytest
import torch

from percert.images import find_images, load_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.info import stored_metric
from percert.search.ingest.sources import AddSettings
from percert.search.tables.scan import scan_blocks
from percert.search.tables.schema import metric_id, parse_metric_id


@pytest.fixture
def store(tmp_path, metric, photos):
    """The eight photos, in fragments of three."""
    opened = open_store(tmp_path / "store", metric)
    opened.add_files([photos], AddSettings(commit_images=3))
    return opened


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 100])
def test_blocks_hold_every_embedding_once_in_an_order_that_stays(store, metric, photos, rows):
    blocks = list(store.blocks(rows))
    assert [len(block.ids) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    ids = [id for block in blocks for id in block.ids]
    assert ids == [id for block in store.blocks(4) for id in block.ids]
    h = torch.cat([block.embeddings for block in blocks])
    assert h.dtype == torch.float32
    expected = {}
    for path in find_images(photos):
        image = load_image(path)[None]
        expected[store.find_path(path)] = (
            metric.embed(image)[0].float(),
            metric.bound(image.shape[2:]).value,
            metric.float_error(image.shape[2:]),
        )
    assert sorted(expected) == sorted(ids)
    norms = torch.cat([block.norms for block in blocks])
    bounds = torch.cat([block.bounds for block in blocks])
    errors = torch.cat([block.pixel_errors for block in blocks])
    torch.testing.assert_close(norms, h.double().norm(dim=1), rtol=1e-14, atol=0)
    for row, id in enumerate(ids):
        embedding, bound, float_error = expected[id]
        torch.testing.assert_close(h[row], embedding, rtol=2**-11, atol=2**-24)
        assert bounds[row].item() == bound
        lost = (embedding.half().double() - embedding.double()).norm().item()
        assert torch.equal(h[row], embedding.half().float())
        assert errors[row].item() == pytest.approx((float_error + 1e-6 + lost) / bound, rel=1e-6)


def test_reading_goes_on_undisturbed_while_rows_come_and_go(store, tmp_path, metric):
    reading = store.blocks(2)
    seen = [*next(reading).ids]
    other = open_store(tmp_path / "store", metric)
    other.add(torch.rand(3, 3, 8, 8), ["x", "y", "z"])
    other.remove(seen)
    seen += [id for block in reading for id in block.ids]
    assert len(seen) == len(set(seen)) == 8
    assert not {"x", "y", "z"} & set(seen)
    assert store.count == 8
    store.refresh()
    assert store.count == 9


def test_rows_have_what_was_asked_for_in_the_order_of_the_ids(store, photos):
    every = store.rows(["id", "path", "paths", "height", "width", "bytes", "metric", "weights"])
    assert len(every) == 8
    for row in every.to_pylist():
        assert row["paths"] == [row["path"]]
        assert tuple(load_image(row["path"]).shape[1:]) == (row["height"], row["width"])
        assert os.stat(row["path"]).st_size == row["bytes"]
        assert (row["metric"], row["weights"]) == ("thumbnail-8", store.metric_id.weights)
    ids = every["id"].to_pylist()
    some = store.rows(["id", "norm"], [ids[5], "not there", ids[1]])
    assert some["id"].to_pylist() == [ids[5], ids[1]]
    assert store.rows(["path"], []).num_rows == 0
    with pytest.raises(ValueError, match=r"column: expected one of .*, found 'colour'"):
        store.rows(["colour"])


def test_tensors_are_stored_under_the_names_given_and_only_once(store, metric):
    images = torch.rand(3, 3, 12, 10)
    names = ["it's", "b; DROP TABLE images", "ä\n"]
    assert store.add(images, names).added == names
    again = store.add([images[2], images[0]], [names[2], "new"])
    assert (again.added, again.known) == (["new"], [names[2]])
    found = store.rows(["id", "h", "path", "bytes"], names)
    assert found["id"].to_pylist() == names
    assert found["path"].to_pylist() == found["bytes"].to_pylist() == [None] * 3
    h = torch.tensor(np.array(found["h"].to_pylist()))
    torch.testing.assert_close(h, metric.embed(images), rtol=2**-11, atol=2**-24)
    assert store.remove([names[1], "not there"]) == 1
    assert store.count == 8 + 3


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        (torch.rand(2, 3, 8, 8), ["a"], "ids: expected 2, one per image, found 1"),
        (torch.rand(2, 3, 8, 8), ["a", "a"], "ids: expected each once"),
        (255 * torch.ones(1, 3, 8, 8), ["a"], "image a: values lie in"),
    ],
)
def test_what_are_not_images_with_names_is_refused_before_anything_is_stored(
    store, images, ids, message
):
    with pytest.raises(ValueError, match=message):
        store.add(images, ids)
    assert store.count == 8


def test_another_metric_or_other_weights_are_refused_with_both_hashes(tmp_path, weighted):
    mine, other = weighted(0), weighted(1)
    open_store(tmp_path / "store", mine).add(torch.rand(1, 3, 8, 8), ["a"])
    hashes = [metric_id(one).weights for one in (mine, other, Thumbnail(8))]
    assert len(set(hashes)) == 3
    for stranger, found in [(other, hashes[1]), (Thumbnail(8), hashes[2])]:
        with pytest.raises(ValueError, match=f"{hashes[0]}, found .*{found}"):
            open_store(tmp_path / "store", stranger)
    assert open_store(tmp_path / "store", weighted(0)).count == 1


def test_metrics_without_weights_are_told_apart_too(tmp_path):
    open_store(tmp_path / "store", Thumbnail(8))
    with pytest.raises(ValueError, match=r"holds embeddings of thumbnail-8 .*found thumbnail-16"):
        open_store(tmp_path / "store", Thumbnail(16))


def test_the_same_weights_may_be_computed_more_exactly_not_less(tmp_path, weighted):
    open_store(tmp_path / "single", weighted(0))
    open_store(tmp_path / "single", weighted(0).double())
    open_store(tmp_path / "double", weighted(0).double())
    with pytest.raises(ValueError, match="with precision float64, found float32"):
        open_store(tmp_path / "double", weighted(0))


def test_the_identity_survives_its_text(metric):
    assert parse_metric_id(metric_id(metric).to_json()) == metric_id(metric)
    assert stored_metric("no such folder") is None
    with pytest.raises(ValueError, match="not the identity of a metric"):
        parse_metric_id('{"name": "x"}')


def test_other_views_are_refused_and_unnamed_ones_are_the_stores(tmp_path, metric):
    made = open_store(tmp_path / "store", metric, views="mirror")
    assert made.views == ("whole", "mirror-whole")
    assert open_store(tmp_path / "store", metric).views == made.views
    with pytest.raises(ValueError, match="holds the views whole, mirror-whole, found whole"):
        open_store(tmp_path / "store", metric, views="whole")


def test_a_store_without_a_metric_can_be_looked_at_and_not_added_to(store, tmp_path):
    opened = open_store(tmp_path / "store")
    assert opened.info()["images"] == opened.count == 8
    assert opened.info()["metric"]["weights"] == store.metric_id.weights
    assert opened.verify().sound
    with pytest.raises(ValueError, match="opened without a metric"):
        opened.add(torch.rand(1, 3, 8, 8), ["a"])


def test_no_store_is_made_among_other_files_or_where_none_is_asked_for(tmp_path, metric, photos):
    before = sorted(os.listdir(photos))
    with pytest.raises(ValueError, match=r"not a store, the folder holds '0\.png'"):
        open_store(photos, metric)
    with pytest.raises(ValueError, match="a file, expected the folder of a store"):
        open_store(photos / "0.png", metric)
    for create, given in [(False, metric), (True, None)]:
        with pytest.raises(ValueError, match="no store here"):
            open_store(tmp_path / "new", given, create=create)
    with pytest.raises(ValueError, match="expected a folder or an address"):
        open_store("http://host/store", metric)
    assert sorted(os.listdir(photos)) == before
    assert sorted(os.listdir(tmp_path)) == ["photos"]


@pytest.mark.parametrize("inside", ["images.lance", "images.lance/data", "files.lance"])
def test_a_store_with_a_link_out_of_it_is_refused(store, tmp_path, metric, inside):
    link, elsewhere = tmp_path / "store" / inside, tmp_path / "elsewhere"
    link.rename(elsewhere)
    link.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(ValueError, match="a link; a store holds none"):
        open_store(tmp_path / "store", metric)


def test_a_linked_lock_is_refused_and_what_it_points_at_stays(store, tmp_path, metric):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "store" / "percert.lock").unlink(missing_ok=True)
    (tmp_path / "store" / "percert.lock").symlink_to(victim)
    with pytest.raises(ValueError, match="a link; a store holds none"):
        open_store(tmp_path / "store", metric)
    assert victim.read_text() == "precious"


def test_a_table_of_somebody_else_is_refused(tmp_path, metric):
    lancedb = pytest.importorskip("lancedb")
    lancedb.connect(tmp_path / "other").create_table("images", [{"vector": [1.0, 2.0]}])
    with pytest.raises(ValueError, match="not made by percert"):
        open_store(tmp_path / "other", metric)


def test_an_address_that_is_no_folder_serves_as_well(metric, photos):
    store = open_store("memory://", metric)
    assert {one.what for one in store.add_files([photos])} == {"added"}
    assert store.count == 8
    assert store.verify().sound
    assert store.info()["disk_bytes"] is None


def test_what_a_query_has_read_is_kept_until_the_store_changes(
    store, tmp_path, metric, monkeypatch
):
    read = []
    monkeypatch.setattr(
        "percert.search.tables.cache.scan_blocks",
        lambda *args, scan=scan_blocks: read.append(args) or scan(*args),
    )
    query = torch.rand(1, 3, 20, 30)
    reader = open_store(tmp_path / "store", metric)
    first, again = reader.search(query, 3), reader.search(query, 3)
    assert first == again
    assert len(read) == 1
    store.add(query, ["new"])
    assert reader.search(query, 3) == first  # it shows what it was opened with
    reader.refresh()
    assert reader.search(query, 3)[0].results[0].id == "new"
    assert len(read) == 2
    small = open_store(tmp_path / "store", metric, memory=100)
    assert small.search(query, 3) == small.search(query, 3)
    assert len(read) == 4


def test_what_lancedb_reads_ahead_is_bounded_unless_the_user_says_otherwise(
    store, tmp_path, metric, monkeypatch
):
    size = "LANCE_DEFAULT_IO_BUFFER_SIZE"
    monkeypatch.delenv(size, raising=False)
    open_store(tmp_path / "store", metric)
    assert int(os.environ[size]) <= 64 << 20
    monkeypatch.setenv(size, "7000000")
    open_store(tmp_path / "store", metric)
    assert os.environ[size] == "7000000"


@pytest.mark.parametrize("name", ["photos:2024.store", "a b.store", "ünï.store"])
def test_a_store_may_have_any_name(tmp_path, metric, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    open_store(name, metric).add([torch.rand(3, 8, 8)], ["a"])
    assert open_store(name).count == 1


def test_what_is_damaged_below_a_store_says_so_in_one_line(tmp_path, metric):
    store = open_store(tmp_path / "store", metric)
    store.add([torch.rand(3, 8, 8)], ["a"])
    for path in (tmp_path / "store" / "images.lance").rglob("*.lance"):
        path.write_bytes(path.read_bytes()[:100])
    opened = open_store(tmp_path / "store", metric)
    for ask in (
        lambda: opened.search([torch.rand(3, 8, 8)]),
        lambda: opened.copies([torch.rand(3, 8, 8)], 0.1),
        lambda: opened.duplicates(0.1),
        lambda: opened.rows(["h"]),
        opened.verify,
    ):
        with pytest.raises(ValueError, match=r"store: the store cannot be read or written \(") as e:
            ask()
        assert "\n" not in str(e.value)
        assert ".rs:" not in str(e.value)
