"""Adding: what is stored is right, once, and nothing is done twice; bad files stop nothing."""

import hashlib
import io
import os
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from percert.images import load_image, save_image
from percert.search import open_store
from percert.search.ingest.pipeline import Decoders, Encoded
from percert.search.ingest.sources import AddSettings, Snapshot, Source, StageSeconds, count_images
from percert.search.ingest.views import Preparation
from percert.search.tables.commit import remove_files
from percert.search.tables.files import path_key

from .conftest import smooth_image


@pytest.fixture
def store(tmp_path, metric):
    return open_store(tmp_path / "store", metric)


@pytest.fixture
def embedded(metric):
    """How many images the network has seen, by a hook: ``embedded()`` since the last call."""
    seen = []
    metric.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))

    def count():
        total = sum(seen)
        seen.clear()
        return total

    return count


def told(outcomes):
    return dict(Counter(one.what for one in outcomes))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_image_is_stored_with_its_hash_size_and_embedding(store, metric, photos):
    outcomes = store.add_files([photos], AddSettings(batch=3, commit_images=5))
    paths = sorted(photos.iterdir())
    assert [(one.path, one.what, one.id) for one in outcomes] == [
        (str(path), "added", sha256(path)) for path in paths
    ]
    table = store.rows(["id", "path", "bytes", "height", "width", "h"])
    assert sorted(table["path"].to_pylist()) == [str(path) for path in paths]
    for row in table.to_pylist():
        image = load_image(row["path"])
        assert (row["height"], row["width"]) == tuple(image.shape[1:])
        expected = metric.embed(image[None])[0].float()
        torch.testing.assert_close(torch.tensor(row["h"]), expected, rtol=2**-11, atol=2**-24)


def test_adding_again_costs_nothing_and_changes_nothing(store, photos, embedded):
    assert told(store.add_files([photos])) == {"added": 8}
    version, seen = store.version, embedded()
    assert seen == 8
    again = store.add_files([photos, photos / "3.png"])
    assert told(again) == {"unchanged": 9}
    assert {one.id for one in again} == set(store.rows(["id"])["id"].to_pylist())
    assert (embedded(), store.version) == (0, version)


def test_a_file_that_was_only_touched_is_hashed_and_not_embedded(store, photos, embedded):
    store.add_files([photos])
    embedded()
    os.utime(photos / "2.png", ns=(1, 1))
    assert told(store.add_files([photos])) == {"unchanged": 8}
    assert embedded() == 0
    # Its new time is known by now: nothing is even read.
    assert Snapshot(store.tables).is_unchanged(str(photos / "2.png"), None, 1)


def test_identical_bytes_are_embedded_once_and_all_paths_are_kept(store, photos, embedded):
    shutil.copy(photos / "1.png", photos / "copy of 1.png")
    outcomes = store.add_files([photos])
    assert told(outcomes) == {"added": 8, "duplicate": 1}
    assert (embedded(), store.count) == (8, 8)
    shutil.copy(photos / "1.png", photos / "later.png")
    assert told(store.add_files([photos / "later.png"])) == {"duplicate": 1}
    assert embedded() == 0
    (row,) = store.rows(["path", "paths"], [sha256(photos / "1.png")]).to_pylist()
    assert row["paths"] == [str(photos / n) for n in ("1.png", "copy of 1.png", "later.png")]
    assert row["path"] == row["paths"][0]
    assert store.verify().sound


def test_a_changed_file_takes_the_place_of_what_it_was(store, photos, embedded):
    shutil.copy(photos / "1.png", photos / "twin.png")
    store.add_files([photos])
    before = {name: sha256(photos / name) for name in ("0.png", "1.png")}
    save_image(smooth_image(100), photos / "0.png")
    save_image(smooth_image(101), photos / "1.png")
    embedded()
    assert told(store.add_files([photos])) == {"added": 2, "unchanged": 7}
    assert embedded() == 2
    ids = set(store.rows(["id"])["id"].to_pylist())
    # What another file holds stays; what no file holds any more goes.
    assert before["1.png"] in ids
    assert before["0.png"] not in ids
    assert store.find_path(photos / "0.png") == sha256(photos / "0.png")
    assert store.verify().sound


def test_bad_files_are_listed_and_the_others_added(store, photos):
    (photos / "empty.png").touch()
    (photos / "text.png").write_text("not an image")
    shutil.copy(photos / "text.png", photos / "text again.png")
    (photos / "torn.png").write_bytes((photos / "0.png").read_bytes()[:200])
    os.mkfifo(photos / "pipe.png")
    outcomes = store.add_files([photos, photos / "missing.png"])
    assert told(outcomes) == {"added": 8, "bad": 6}
    bad = {os.path.basename(one.path): one.reason for one in outcomes if one.what == "bad"}
    assert bad["empty.png"] == "an empty file (0 bytes)"
    assert bad["text.png"] == bad["text again.png"]
    assert "truncated" in bad["torn.png"]
    assert (bad["pipe.png"], bad["missing.png"]) == ("not a regular file", "no such file")
    assert told(store.add_files([photos])) == {"unchanged": 8, "bad": 5}
    assert store.verify().sound


def test_images_that_take_more_memory_than_allowed_are_bad(store, photos):
    save_image(torch.zeros(3, 900, 900), photos / "large.png")
    outcomes = store.add_files([photos], AddSettings(max_memory=40 << 20))
    assert told(outcomes) == {"added": 8, "bad": 1}
    [bad] = [one for one in outcomes if one.what == "bad"]
    assert bad.path.endswith("large.png")
    assert "more than max_memory = 40.0 MiB" in bad.reason


@pytest.mark.parametrize(
    "name", ["it's; --.png", "line\nbreak.png", "ünï.png", os.fsdecode(b"caf\xe9.png"), "a#1.png"]
)
def test_files_of_any_name_are_found_again(store, tmp_path, name):
    save_image(smooth_image(0), tmp_path / name)
    assert told(store.add_files([tmp_path / name])) == {"added": 1}
    assert told(store.add_files([tmp_path / name])) == {"unchanged": 1}
    assert store.find_path(tmp_path / name) == sha256(tmp_path / name)
    assert store.remove_named([os.fspath(tmp_path)]) == (1, [])
    assert store.count == 0


def test_no_two_paths_have_one_name():
    raw = [b"/a\xff", b"/a\\xff", b"/a\\\\xff", b"/a\xff\\", "/aÿ".encode()]
    assert len({path_key(os.fsdecode(name)) for name in raw}) == len(raw)


def test_decoding_in_processes_stores_the_same(tmp_path, metric, photos):
    (photos / "text.png").write_text("not an image")
    tables = []
    for kind in ("threads", "processes"):
        store = open_store(tmp_path / kind, metric)
        settings = AddSettings(decoders=2 if kind == "threads" else 1, decode_in=kind)
        assert told(store.add_files([photos], settings)) == {"added": 8, "bad": 1}
        columns = ["id", "path", "height", "width", "h", "norm", "bound", "pixel_error"]
        tables.append(store.rows(columns).sort_by("id"))
    assert tables[0].equals(tables[1])


def crash(data, name, id):
    if data == b"crash":
        os._exit(1)
    return f"{name} decoded"


def test_a_decoder_that_crashes_makes_one_bad_image(metric):
    how = Preparation(("whole",), metric.resize, 1.0, "float32")
    items = [
        Encoded(Source(str(at), 1, 1, None), b"crash" if at == 1 else b"fine", "", 0.0)
        for at in range(4)
    ]
    with Decoders(how, 1, "processes", 100) as decoders:
        decoders.work = crash
        futures = [decoders.submit(item) for item in items]
        results = [decoders.result(*pair) for pair in zip(items, futures, strict=True)]
    assert [str(one) for one in results] == [
        "0 decoded",
        "1: its decoder crashed",
        "2 decoded",
        "3 decoded",
    ]


def encoded_png(seed):
    pixels = (255 * smooth_image(seed)).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_rows_of_parquet_files_are_images_under_their_number(store, tmp_path, embedded, kind):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    secret = tmp_path / "secret.png"
    save_image(smooth_image(50), secret)
    data = [encoded_png(seed) for seed in (0, 1, 0, 2)] + [None, b"not an image"]
    column = data
    if kind == "struct":
        # The path in a row is what it was called once: it is never opened.
        column = [{"bytes": one, "path": str(secret)} for one in data]
    path = tmp_path / "images.parquet"
    parquet.write_table(pa.table({"image": column}), path, row_group_size=4)
    assert count_images([path]) == 6
    outcomes = sorted(store.add_files([path]), key=lambda one: one.path)  # bad ones come at once
    assert [one.what for one in outcomes] == ["added", "added", "duplicate", "added", "bad", "bad"]
    assert [one.path for one in outcomes] == [f"parquet:{path}#{row}" for row in range(6)]
    assert outcomes[4].reason == "a row without the bytes of an image"
    assert embedded() == 3
    assert outcomes[0].id == hashlib.sha256(data[0]).hexdigest()
    assert store.find_path(secret) is None
    again = store.add_files([path])
    assert told(again) == {"unchanged": 4, "bad": 2}
    assert embedded() == 0
    os.utime(path)
    assert told(store.add_files([path])) == {"unchanged": 4, "bad": 2}
    assert store.remove_named([os.fspath(path)]) == (4, [])
    assert store.count == 0


def test_parquet_files_without_images_are_bad(store, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"label": [1, 2]}), tmp_path / "labels.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing more")
    names = ["labels.parquet", "broken.parquet", "none.parquet"]
    outcomes = store.add_files([tmp_path / name for name in names])
    assert [one.what for one in outcomes] == ["bad"] * 3
    assert outcomes[0].reason == "expected a column image, found label"
    assert outcomes[1].reason.startswith("not a parquet file that can be read")
    assert outcomes[2].reason == "no such file"


def test_what_is_handed_out_is_on_disk_by_then(store, tmp_path, metric, photos):
    reader = open_store(tmp_path / "store", metric)
    adding = store.iter_add([photos], AddSettings(batch=2, commit_images=2))
    for outcome in adding:
        reader.refresh()
        assert len(reader.rows(["id", "path"], [outcome.id])) == 1
        if reader.count >= 4:
            adding.close()  # as an interruption would
            break
    assert 4 <= reader.count < 8
    assert reader.verify().sound
    assert told(store.add_files([photos]))["added"] == 8 - reader.count


def test_the_stages_account_for_the_time(store, photos):
    stages = StageSeconds()
    list(store.iter_add([photos], stages=stages))
    named = [stages.reading, stages.decoding, stages.resizing, stages.network, stages.committing]
    assert all(seconds > 0 for seconds in named)
    assert stages.network + stages.committing + stages.waiting <= stages.total


def test_files_are_forgotten_and_images_when_no_file_holds_them(store, photos):
    shutil.copy(photos / "1.png", photos / "copy.png")
    store.add_files([photos])
    named = [str(photos / "1.png"), str(photos / "2.png")]
    assert sorted(remove_files(store.tables, [*named, "/nowhere"])) == named
    assert store.count == 7
    assert store.find_path(photos / "copy.png") == sha256(photos / "copy.png")
    id = sha256(photos / "5.png")
    assert store.remove_named([id, "nothing"]) == (1, ["nothing"])
    assert store.find_path(photos / "5.png") is None
    assert store.verify().sound
    assert store.remove_named([str(photos)]) == (6, [])
    assert store.count == 0


def test_a_file_of_an_image_that_another_writer_removed_is_not_acknowledged(
    store, tmp_path, metric, photos
):
    store.add_files([photos])
    shutil.copy(photos / "1.png", photos / "copy.png")
    adding = store.iter_add([photos / "0.png", photos / "copy.png"])
    assert next(adding).what == "unchanged"  # it has looked at the store by now
    open_store(tmp_path / "store", metric).remove([sha256(photos / "1.png")])
    (outcome,) = adding
    assert outcome.what == "bad"
    assert "another writer has just removed" in outcome.reason
    assert store.verify().sound
    assert told(store.add_files([photos / "copy.png"])) == {"added": 1}


def test_torch_keeps_its_threads(store, photos):
    before = torch.get_num_threads()
    store.add_files([photos], AddSettings(decoders=3))
    assert torch.get_num_threads() == before


def test_several_views_are_embeddings_of_what_they_show(tmp_path, metric, photos):
    from percert.search.ingest.views import find_view

    store = open_store(tmp_path / "views", metric, views="centre-80,mirror-top-left-90")
    store.add_files([photos])
    (block,) = store.blocks()
    assert block.view.tolist() == [0, 1, 2] * 8
    paths = store.rows(["path"], list(block.ids))["path"].to_pylist()
    for row in range(24):
        image = load_image(paths[row // 3])[None]
        view = find_view(store.views[row % 3])(image)
        expected = metric.embed(view)[0].float()
        # As half precision has it.
        torch.testing.assert_close(block.embeddings[row], expected, rtol=2**-11, atol=2**-24)
        assert block.bounds[row].item() == metric.bound(view.shape[2:]).value
    assert np.isfinite(block.pixel_errors.numpy()).all()
    assert store.verify(again=3).embedded == 3
