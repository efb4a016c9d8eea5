"""``percert index add``, ``info``, ``remove``, ``verify``: what they answer, how they fail."""

import json
import shutil

import pytest
import torch

from percert.images import save_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.ingest.views import VIEW_SETS
from percert.search.tables.schema import metric_id


@pytest.fixture
def store(tmp_path):
    return tmp_path / "photos.store"


@pytest.fixture
def photos(files, tmp_path):
    """cat.png, and inside noisy.png, small.png, deeper/coffee.png: no bad file."""
    folder = tmp_path / "photos"
    shutil.copytree(files / "inside", folder / "inside")
    shutil.copy(files / "cat.png", folder / "cat.png")
    return folder


@pytest.fixture
def added(store, photos, percert):
    percert("index", "add", photos, "--store", store, "--metric", "thumbnail-8")
    return store


def test_adding_counts_what_is_new_known_and_doubled(store, photos, percert_json):
    shutil.copy(photos / "cat.png", photos / "cat again.png")
    command = ("index", "add", photos, "--store", store, "--metric", "thumbnail-8")
    assert percert_json(*command) == {
        "store": str(store),
        "added": 4,
        "moved": 0,
        "duplicate": 1,
        "unchanged": 0,
        "images": 4,
        "views": list(VIEW_SETS["standard"]),
        "bad": [],
        "left_out": [],
        "forgotten": [],
        "unreachable": [],
    }
    again = percert_json(*command[:-2])
    assert (again["added"], again["unchanged"], again["images"]) == (0, 5, 4)


def test_bad_files_are_listed_the_others_added_and_the_status_is_1(files, store, percert_json):
    answer = percert_json(
        "index", "add", files, "--store", store, "--metric", "thumbnail-8", exit_code=1
    )
    assert (answer["added"], answer["images"]) == (4, 4)
    (bad,) = answer["bad"]
    assert bad["path"] == str(files / "bad.png")
    assert bad["reason"]


def test_each_prints_a_line_for_every_image_that_is_stored(store, photos, percert):
    result = percert("index", "add", photos, "--store", store, "--metric", "thumbnail-8", "--each")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["path"] for one in lines} == {str(path) for path in photos.rglob("*.png")}
    assert {one["what"] for one in lines} == {"added"}
    assert all(open_store(store).find_path(one["path"]) == one["id"] for one in lines)


def test_several_views_are_named_with_their_cost(store, photos, percert):
    said = percert(
        "index", "add", photos, "--store", store, "--metric", "thumbnail-8", "--views", "mirror"
    ).stdout
    assert "2 views" in said
    assert "mirror-whole" in said


def test_info_says_what_the_store_holds(added, percert, percert_json):
    answer = percert_json("index", "info", "--store", added)
    assert (answer["images"], answer["files"], answer["embeddings"]) == (4, 4, 44)
    assert answer["views"] == list(VIEW_SETS["standard"])
    assert answer["metric"]["weights"] == metric_id(Thumbnail(8)).weights
    said = percert("index", "info", "--store", added).stdout
    assert answer["metric"]["weights"] in said
    assert "4 images" in said


def test_removing_by_file_folder_and_id(added, photos, percert, percert_json):
    assert percert_json("index", "remove", photos / "cat.png", "--store", added)["images"] == 1
    id = open_store(added).find_path(photos / "inside" / "small.png")
    assert percert_json("index", "remove", id, "--store", added)["images"] == 1
    gone = percert_json(
        "index", "remove", photos / "inside", "/nowhere", "--store", added, exit_code=1
    )
    assert (gone["files"], gone["images"], gone["missing"]) == (2, 2, ["/nowhere"])
    assert (photos / "inside" / "noisy.png").exists()
    assert "0 images" in percert("index", "info", "--store", added).stdout


def test_renamed_files_move_and_deleted_ones_are_pruned(added, photos, percert, percert_json):
    (photos / "cat.png").rename(photos / "renamed.png")
    gone = photos / "inside" / "small.png"
    gone.unlink()
    verdict = percert_json("index", "verify", "--store", added)
    assert (verdict["sound"], verdict["missing"], verdict["unreachable"]) == (True, 2, 0)
    said = percert("index", "verify", "--store", added).stdout
    assert "2 files are gone: percert index prune forgets them" in said
    again = percert("index", "add", photos, "--store", added, "--each").stdout
    lines = {line["path"]: line for line in map(json.loads, again.splitlines())}
    assert lines[str(photos / "renamed.png")]["was"] == str(photos / "cat.png")
    assert "was" not in lines[str(photos / "inside" / "noisy.png")]
    dry = percert_json("index", "prune", "--store", added, "--dry-run")
    assert (dry["forgotten"], dry["images"]) == ([str(gone)], 0)
    assert str(gone) in percert("index", "prune", "--store", added, "--dry-run").stdout
    answer = percert_json("index", "add", photos, "--store", added, "--prune")
    assert (answer["forgotten"], answer["images"]) == ([str(gone)], 3)
    assert percert_json("index", "prune", "--store", added)["forgotten"] == []
    shutil.rmtree(photos / "inside" / "deeper")
    said = percert("index", "prune", photos, "--store", added).stdout
    assert "Forgot 1 files that are gone, and 1 images" in said
    assert "coffee.png" in said


def test_pruning_names_what_may_be_unmounted(added, photos, percert, percert_json):
    photos.rename(photos.with_name("away"))
    for words in (("prune",), ("prune", photos)):
        answer = percert_json("index", *words, "--store", added)
        assert answer["forgotten"] == []
        assert answer["unreachable"] == [{"path": str(photos), "files": 4}]
    result = percert("index", "prune", "--store", added)
    assert f"{photos}: nothing that was added is there (is it mounted?)" in result.stderr
    assert "4 images" in result.stdout
    photos.mkdir()
    percert("index", "add", photos, "--store", added, "--prune", exit_code=1)  # no images found
    assert "4 files lie below folders" in percert("index", "verify", "--store", added).stdout


def test_verifying_a_sound_and_a_damaged_store(added, percert, percert_json):
    answer = percert_json("index", "verify", "--store", added, "--again", 4)
    assert (answer["sound"], answer["images"], answer["embedded"]) == (True, 4, 4)
    opened = open_store(added)
    opened.tables.images.add(opened.tables.images.search().limit(1).to_arrow())  # a row twice
    answer = percert_json("index", "verify", "--store", added, exit_code=1)
    assert not answer["sound"]
    assert "more than once" in answer["problems"][0]
    assert "more than once" in percert("index", "verify", "--store", added, exit_code=1).stderr


def test_another_metric_than_the_stores_is_refused_with_both_hashes(added, photos, percert):
    for verb in ("add", "search", "copies"):
        result = percert(
            "index",
            verb,
            photos / "cat.png",
            "--store",
            added,
            "--metric",
            "lipsim-tiny",
            exit_code=1,
        )
        assert metric_id(Thumbnail(8)).weights in result.stderr
        assert "found lipsim-tiny with weights" in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("info", "--store", "none.store"), 1, "no store here"),
        (("verify", "--store", "none.store"), 1, "no store here"),
        (("search", "cat.png", "--store", "none.store"), 1, "no store here"),
        (("duplicates", "--store", "none.store"), 1, "no store here"),
        (("add", "empty", "--store", "new.store"), 1, "no images found"),
        (("add", "missing", "--store", "new.store"), 1, "no such file"),
        (("add", "cat.png", "--store", "inside"), 1, "not a store"),
        (("add", "cat.png", "--store", "http://host/store"), 1, "expected a folder or an address"),
        (("add", "cat.png", "--store", "s", "--views", "half"), 1, "expected one of the sets"),
        (("add", "cat.png", "--store", "s", "--metric", "nothing"), 2, "nothing"),
        (("add", "cat.png", "--store", "s", "--address", "auto"), 2, "--engine ray"),
        (("search", "cat.png", "--store", "photos.store", "--workers", "2"), 2, "--engine ray"),
        (("add", "cat.png", "--store", "s", "--each", "--json"), 2, "--json does not"),
        (("add", "cat.png"), 2, "--store"),
        (("add",), 2, "Usage"),
    ],
)
def test_errors_are_a_line_with_the_right_status(
    files, tmp_path, monkeypatch, percert, arguments, exit_code, said
):
    shutil.copy(files / "cat.png", tmp_path / "cat.png")
    shutil.copytree(files / "inside", tmp_path / "inside")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    result = percert("index", *arguments, exit_code=exit_code)
    assert said in f"{result.stderr}{result.stdout}"


def test_thresholds_are_set_anew_on_command_and_said(tmp_path, percert, percert_json):
    photos, store = tmp_path / "many", tmp_path / "many.store"
    photos.mkdir()
    for seed in range(70):
        image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed))
        save_image(image, photos / f"{seed}.png")
    percert("index", "add", photos, "--store", store, "--metric", "thumbnail", "--views", "whole")
    assert "one threshold for all images" in percert("index", "info", "--store", store).stdout
    answer = percert_json("index", "refit", "--store", store, "--from", "collection")
    assert (answer["source"], answer["images"], answer["stricter"]) == ("collection", 70, 70)
    assert "by a background (collection)" in percert("index", "info", "--store", store).stdout
    assert "ships no background" in percert("index", "refit", "--store", store, exit_code=1).stderr


def test_a_store_is_made_anew_of_another_and_goes_on(added, tmp_path, percert, percert_json):
    new = tmp_path / "new.store"
    command = ("index", "upgrade", "--store", added, "--out", new, "--views", "small")
    answer = percert_json(*command)
    assert (answer["added"], answer["unchanged"], answer["without_file"]) == (4, 0, 0)
    assert percert_json(*command)["unchanged"] == 4
    assert percert_json("index", "info", "--store", new)["views"] == list(VIEW_SETS["small"])
    assert "holds 4 of 4 images" in percert(*command).stdout


def test_a_store_is_made_anew_by_another_metric(added, tmp_path, percert, percert_json):
    new = tmp_path / "new.store"
    percert("index", "upgrade", "--store", added, "--out", new, "--metric", "thumbnail-16")
    assert percert_json("index", "info", "--store", added)["metric"]["name"] != "thumbnail-16"
    made = percert_json("index", "info", "--store", new)
    assert (made["metric"]["name"], made["images"]) == ("thumbnail-16", 4)
