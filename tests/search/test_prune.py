"""Files that were renamed, deleted or are out of reach: what a store then knows of them."""

import os
import shutil
from collections import Counter

import pytest

from percert.images import save_image
from percert.search import open_store
from percert.search.tables.files import find_missing, is_missing, path_key, read_roots
from percert.search.tables.location import persist

from .conftest import smooth_image
from .test_add import encoded_png


@pytest.fixture
def store(tmp_path, metric, photos):
    """The eight images of ``photos``, and one of a tensor."""
    opened = open_store(tmp_path / "store", metric)
    opened.add([smooth_image(100)], ["a tensor"])
    opened.add_files([photos])
    return opened


@pytest.fixture
def embedded(metric):
    seen = []
    metric.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    return seen


def told(outcomes):
    return dict(Counter(one.what for one in outcomes))


def paths(store):
    return sorted(path for held in store.rows(["paths"])["paths"].to_pylist() for path in held)


def here(folder):
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def test_a_renamed_file_is_known_by_its_content(store, photos, embedded):
    os.rename(photos / "3.png", photos / "renamed.png")
    os.utime(photos / "renamed.png", ns=(1, 1))  # even if its time changes
    outcomes = store.add_files([photos])
    assert told(outcomes) == {"unchanged": 7, "moved": 1}
    (moved,) = [one for one in outcomes if one.what == "moved"]
    assert (moved.path, moved.was) == (str(photos / "renamed.png"), str(photos / "3.png"))
    assert embedded == []
    assert (paths(store), store.count) == (here(photos), 9)
    (answer,) = store.search([smooth_image(3, (9, 50))], k=1)
    assert answer.results[0].paths == (str(photos / "renamed.png"),)
    assert told(store.add_files([photos])) == {"unchanged": 8}
    assert store.verify().sound


def test_a_renamed_folder_is_known_by_content_and_time(store, photos, embedded):
    """Nothing is left of its root: what tells a rename from a copy is the time of change."""
    shutil.copy(photos / "1.png", photos / "twin.png")
    store.add_files([photos])
    embedded.clear()
    pictures = photos.rename(photos.with_name("pictures"))
    outcomes = store.add_files([pictures])
    assert told(outcomes) == {"moved": 9}
    assert {(one.was, one.path) for one in outcomes} == {
        (str(photos / path.name), str(path)) for path in pictures.iterdir()
    }
    assert embedded == []
    assert paths(store) == here(pictures)


def test_a_copy_of_what_is_unmounted_is_no_move(store, photos, tmp_path):
    photos.rename(tmp_path / "away")
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copyfile(tmp_path / "away" / "3.png", copies / "3.png")
    assert told(store.add_files([copies])) == {"duplicate": 1}
    assert str(photos / "3.png") in paths(store)
    (tmp_path / "away").rename(photos)
    assert told(store.add_files([photos, copies])) == {"unchanged": 9}


def test_a_copy_is_a_twin_while_the_first_is_there(store, photos):
    shutil.copy2(photos / "3.png", photos / "twin.png")
    (outcome,) = store.add_files([photos / "twin.png"])
    assert (outcome.what, outcome.was) == ("duplicate", None)
    assert paths(store) == here(photos)


def test_every_dead_path_of_a_moved_image_goes(store, photos):
    shutil.copy(photos / "3.png", photos / "twin.png")
    store.add_files([photos])
    (photos / "twin.png").unlink()
    os.rename(photos / "3.png", photos / "renamed.png")
    assert told(store.add_files([photos])) == {"unchanged": 7, "moved": 1}
    assert paths(store) == here(photos)


def test_two_files_that_changed_names_keep_both(store, photos):
    ids = [store.find_path(photos / name) for name in ("1.png", "2.png")]
    os.rename(photos / "1.png", photos / "x.png")
    os.rename(photos / "2.png", photos / "1.png")
    os.rename(photos / "x.png", photos / "2.png")
    assert told(store.add_files([photos])) == {"unchanged": 6, "duplicate": 2}
    assert [store.find_path(photos / name) for name in ("2.png", "1.png")] == ids
    assert (paths(store), store.count) == (here(photos), 9)


def test_rows_of_a_renamed_parquet_file_move(store, tmp_path, embedded):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": [encoded_png(seed) for seed in (200, 201)]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert told(store.add_files([tmp_path / "a.parquet"])) == {"added": 2}
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    assert told(store.add_files([tmp_path / "b.parquet"])) == {"moved": 2}
    assert [path for path in paths(store) if path.startswith("parquet:")] == [
        f"parquet:{tmp_path / 'b.parquet'}#{row}" for row in (0, 1)
    ]
    # Rows that a shorter file no longer has are gone.
    parquet.write_table(table[:1], tmp_path / "b.parquet")
    assert find_missing(store.tables).gone == [f"parquet:{tmp_path / 'b.parquet'}#1"]
    assert store.prune().images == 1


def test_a_move_is_one_commit(store, photos, monkeypatch):
    """Killed before it, the old path is there; after it, the new one alone."""
    os.rename(photos / "3.png", photos / "renamed.png")
    commits = []

    def stop(write):
        commits.append(write)
        raise KeyboardInterrupt

    monkeypatch.setattr("percert.search.tables.commit.persist", stop)
    with pytest.raises(KeyboardInterrupt):
        store.add_files([photos])
    assert len(commits) == 1
    monkeypatch.setattr("percert.search.tables.commit.persist", persist)
    store.refresh()
    assert str(photos / "3.png") in paths(store)
    assert str(photos / "renamed.png") not in paths(store)
    assert told(store.add_files([photos])) == {"unchanged": 7, "moved": 1}


def test_a_file_that_comes_back_before_the_commit_is_kept(store, photos, monkeypatch):
    os.rename(photos / "3.png", photos / "renamed.png")
    monkeypatch.setattr("percert.search.tables.commit.is_missing", lambda key: False)
    assert told(store.add_files([photos])) == {"unchanged": 7, "moved": 1}
    assert {str(photos / "3.png"), str(photos / "renamed.png")} <= set(paths(store))


def test_pruning_forgets_what_is_gone_and_says_so(store, photos):
    shutil.copy(photos / "1.png", photos / "twin.png")
    store.add_files([photos])
    for name in ("1.png", "4.png", "5.png"):
        (photos / name).unlink()
    gone = [str(photos / name) for name in ("1.png", "4.png", "5.png")]
    assert find_missing(store.tables).gone == gone
    verdict = store.verify()
    assert (verdict.sound, verdict.missing, verdict.unreachable) == (True, 3, 0)
    looked = store.prune(dry_run=True)
    assert (looked.files, looked.images, store.count) == (gone, 0, 9)
    pruned = store.prune()
    # Image 1 is still in its twin.
    assert (pruned.files, pruned.images, pruned.unreachable) == (gone, 2, {})
    assert (paths(store), store.count) == (here(photos), 7)
    assert "a tensor" in store.rows(["id"])["id"].to_pylist()
    assert store.prune().files == []
    assert store.verify().missing == 0


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a note", "a file", "a link"])
def test_an_unmounted_folder_empties_no_store(store, photos, tmp_path, left):
    others = tmp_path / "others"
    others.mkdir()
    save_image(smooth_image(30), others / "30.png")
    save_image(smooth_image(31), others / "31.png")
    store.add_files([others])
    photos.rename(tmp_path / "away")
    if left == "a file":
        photos.write_text("not a folder")
    elif left == "a link":
        photos.symlink_to(tmp_path / "nowhere")
    elif left != "nothing":
        photos.mkdir()
    if left == "a note":
        (photos / "NOT MOUNTED").touch()
    (others / "31.png").unlink()
    verdict = store.verify()
    assert (verdict.missing, verdict.unreachable) == (1, 8)
    pruned = store.prune()
    assert pruned.files == [str(others / "31.png")]
    assert pruned.unreachable == {str(photos): 8}
    assert store.count == 10
    if photos.is_dir():
        shutil.rmtree(photos)
    photos.unlink(missing_ok=True)
    (tmp_path / "away").rename(photos)
    assert find_missing(store.tables) == find_missing(store.tables, [tmp_path])
    assert find_missing(store.tables).unreachable == {}


def test_a_deleted_subfolder_is_gone_where_its_root_is_not(tmp_path, metric, photos):
    (photos / "trip").mkdir()
    (photos / "home").mkdir()
    for path in list(photos.glob("*.png")):
        path.rename(photos / ("trip" if path.stem < "4" else "home") / path.name)
    store = open_store(tmp_path / "store", metric)
    store.add_files([photos])
    shutil.rmtree(photos / "trip")
    assert len(store.prune().files) == 4
    # All that is left of a root is never forgotten.
    shutil.rmtree(photos / "home")
    assert store.prune() == store.prune([photos])
    assert store.prune().unreachable == {str(photos): 4}
    assert store.count == 4


def test_without_roots_a_files_own_folder_decides(tmp_path, metric, photos):
    """Files that were added one by one, as in stores of before roots were kept."""
    store = open_store(tmp_path / "store", metric)
    (photos / "far").mkdir()
    (photos / "7.png").rename(photos / "far" / "7.png")
    store.add_files(sorted(photos.rglob("*.png")))
    assert read_roots(store.path) == []
    (photos / "1.png").unlink()
    shutil.rmtree(photos / "far")
    pruned = store.prune()
    assert pruned.files == [str(photos / "1.png")]
    assert pruned.unreachable == {str(photos / "far"): 1}


def test_pruning_is_limited_to_the_folders_that_are_named(store, photos, tmp_path):
    others = tmp_path / "photos of others"
    others.mkdir()
    for seed in (30, 31):
        save_image(smooth_image(seed), others / f"{seed}.png")
    store.add_files([others])
    (others / "30.png").unlink()
    (photos / "0.png").unlink()
    assert store.prune([photos]).files == [str(photos / "0.png")]
    assert store.prune([others / "31.png"]).files == []
    assert store.prune([others / "30.png"]).files == [str(others / "30.png")]


def test_what_cannot_be_looked_at_is_not_missing(store, photos, monkeypatch):
    look = os.stat

    def denied(path, **how):
        if os.fspath(path).startswith(str(photos)):
            raise PermissionError(13, "Permission denied", path)
        return look(path, **how)

    monkeypatch.setattr("percert.search.tables.files.os.stat", denied)
    assert not is_missing(str(photos / "0.png"))
    assert store.prune().files == []


def test_what_another_writer_adds_meanwhile_is_kept(store, photos, monkeypatch):
    """A file that comes back between the look and the removal is there for good."""
    (photos / "0.png").rename(photos.parent / "0.png")
    found = find_missing(store.tables)
    (photos.parent / "0.png").rename(photos / "0.png")
    monkeypatch.setattr("percert.search.tables.files.find_missing", lambda *_: found)
    assert store.prune().files == []
    assert str(photos / "0.png") in paths(store)


def test_names_that_are_no_utf8_are_looked_for_as_they_are(store, photos, tmp_path):
    name = os.fsdecode(b"caf\xe9 \\x41.png")
    save_image(smooth_image(40), photos / name)
    store.add_files([photos])
    assert find_missing(store.tables).gone == []
    (photos / name).unlink()
    assert store.prune([photos]).files == [path_key(photos / name)]


def test_roots_are_folders_once_each(store, photos, tmp_path):
    assert read_roots(store.path) == [str(photos)]
    (photos / "in").mkdir()
    save_image(smooth_image(50), photos / "in" / "a.png")
    for _ in range(2):
        store.add_files([photos / "in", photos, photos / "0.png", tmp_path / "missing"])
    assert read_roots(store.path) == [str(photos), str(photos / "in")]
    assert read_roots(open_store(tmp_path / "store").path) == read_roots(store.path)
