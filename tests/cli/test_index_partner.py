"""A store with a partner on the command line: what is said of it, and when."""

import pytest
import torch

from percert.images import save_image


def smooth(seed, size=(20, 30)):
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(5):
        save_image(smooth(seed), folder / f"{seed}.png")
    return folder


@pytest.fixture
def strangers(tmp_path):
    folder = tmp_path / "strangers"
    folder.mkdir()
    for seed in range(210):
        save_image(smooth(1000 + seed), folder / f"{seed}.png")
    return folder


@pytest.fixture
def store(tmp_path, photos, strangers, percert_json):
    place = tmp_path / "photos.store"
    command = ["index", "add", photos, "--store", place, "--metric", "thumbnail-8"]
    more = ["--partner", "thumbnail-16", "--strangers", strangers]
    added = percert_json(*command, *more)
    assert added["partner"] == {"metric": "thumbnail-16", "added": 5, "without": []}
    return place


def test_queries_tell_what_is_proven_from_what_is_found(store, photos, percert, percert_json):
    (answer,) = percert_json("index", "copies", photos / "2.png", "--store", store)["answers"]
    assert answer["verdict"] == "certain"
    assert answer["partner"]["metric"] == "thumbnail-16"
    assert answer["partner"]["results"][0]["path"].endswith("2.png")
    said = percert("index", "copies", photos / "2.png", "--store", store).stdout
    assert "Found by thumbnail-16, without proof; one in 1,053 queries" in said
    (answer,) = percert_json("index", "search", photos / "2.png", "--store", store)["answers"]
    assert len(answer["partner"]["results"]) == 5
    alone = ("index", "search", photos / "2.png", "--store", store, "--partner", "none")
    assert "partner" not in percert_json(*alone)["answers"][0]
    said = percert("index", "duplicates", "--store", store).stdout
    assert "thumbnail-16, which proves nothing, finds 0 pairs" in said


def test_nothing_here_resembles_it_needs_both(store, tmp_path, percert):
    save_image(1 - smooth(3, (33, 21)), tmp_path / "other.png")
    said = percert("index", "copies", tmp_path / "other.png", "--store", store).stdout
    assert "Nothing here resembles it." in said
    assert "By thumbnail-16, which proves nothing: none." in said


def test_info_and_a_later_addition(store, photos, strangers, percert, percert_json):
    info = percert_json("index", "info", "--store", store)["partner"]
    assert (info["name"], info["rows"], info["weight"]) == ("thumbnail-16", 5, 0.5)
    assert "partner thumbnail-16, 768 values, 5 rows" in percert(
        "index", "info", "--store", store
    ).stdout.replace("\n", " ")
    save_image(smooth(50), photos / "new.png")
    said = percert("index", "add", photos, "--store", store).stdout
    assert "1 rows of the partner thumbnail-16 added." in said
    (strangers / "0.png").unlink()
    again = ("--partner", "thumbnail-16", "--strangers", strangers)
    said = percert("index", "add", photos, "--store", store, *again).stderr
    assert "all thresholds are made anew" in said


def test_what_is_missing_is_said_before_anything_is_added(photos, tmp_path, percert):
    place = tmp_path / "early"
    base = ("index", "add", photos, "--store", place, "--metric", "thumbnail-8")
    found = percert(*base, "--partner", "ssim", exit_code=1)
    assert "ssim: compares no embeddings" in found.stderr
    found = percert(*base, "--partner", "thumbnail-16", exit_code=1)
    assert "percert has no rule for these weights" in found.stderr
    assert "--strangers" in percert(*base, "--strangers", photos, exit_code=2).stderr
    assert "0 images" in percert("index", "info", "--store", place).stdout
