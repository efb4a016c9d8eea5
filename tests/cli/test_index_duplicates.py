"""``percert index duplicates`` as a tool: groups, a page, a plan; then apply, undo and purge."""

import json
import os
import shutil

import pytest

from percert import create_metric
from percert.search import open_store

THRESHOLD = 0.1


@pytest.fixture
def store(files, tmp_path, monkeypatch):
    """The cat with a twin, its noisy and its small copy, and a coffee."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(files / "inside", tmp_path / "photos")
    shutil.copy(files / "cat.png", tmp_path / "photos" / "cat.png")
    shutil.copy(files / "cat.png", tmp_path / "photos" / "twin.png")
    os.utime(tmp_path / "photos" / "cat.png", (1_000_000_000, 1_000_000_000))
    opened = open_store(tmp_path / "store", create_metric("thumbnail", device="cpu"))
    opened.add_files([tmp_path / "photos"])
    return tmp_path / "store"


@pytest.fixture
def duplicates(store, percert):
    def run(*more, **how):
        return percert(
            "index", "duplicates", "--store", store, "--threshold", THRESHOLD, *more, **how
        )

    return run


def there(store):
    return sorted(
        path.name
        for path in (store.parent / "photos").rglob("*.png")
        if ".percert-trash" not in str(path)
    )


def test_groups_name_the_file_to_keep_in_words_and_in_json(duplicates, store):
    said = duplicates("--keep", "oldest").stdout
    assert "3 files are copies of 1 others" in said
    assert f"keep {store.parent}/photos/cat.png (72 x 48" in said
    assert "twin.png" in said.split("the same bytes")[0].splitlines()[-1]
    assert "Nothing has been changed." in said
    told = json.loads(duplicates("--keep", "oldest", "--json").stdout)
    assert {"links", "clusters", "rule", "groups", "spare_bytes", "left_out"} <= set(told)
    (group,) = told["groups"]
    assert group["keep"]["path"].endswith("photos/cat.png")
    evidence = {os.path.basename(one["path"]): one["evidence"] for one in group["copies"]}
    assert evidence == {"twin.png": "identical", "noisy.png": "certified", "small.png": "certified"}
    assert told["spare_bytes"] == sum(one["bytes"] for one in group["copies"])
    protected = json.loads(duplicates("--keep", "oldest", "--protect", "photos", "--json").stdout)
    assert protected["groups"] == []


def test_without_being_asked_for_groups_it_answers_as_ever(duplicates):
    assert "groups" not in json.loads(duplicates("--json").stdout)


def test_a_page_is_one_file(duplicates, store):
    pytest.importorskip("jinja2")
    said = duplicates("--report", "page.html").stdout
    assert "The pictures side by side: page.html" in said
    assert (store.parent / "page.html").read_text("utf-8").count("data:image/jpeg") == 4


def test_a_plan_is_written_read_applied_undone_and_purged(duplicates, store, percert, percert_json):
    before = there(store)
    told = json.loads(
        duplicates("--keep", "oldest", "--plan", "p.json", "--do", "delete", "--json").stdout
    )
    assert told["plan"]["action"] == "delete"
    assert len(told["plan"]["steps"]) == 3
    said = duplicates("--keep", "oldest", "--plan", "p.json", "--do", "delete").stdout
    assert "p.json would put 3 files into the trash" in said
    assert there(store) == before
    assert "3 files could be acted on." in percert("index", "apply", "p.json", "--dry-run").stdout
    assert there(store) == before
    assert "3 files are in the trash now." in percert("index", "apply", "p.json").stdout
    assert there(store) == ["cat.png", "coffee.png"]
    assert percert_json("index", "apply", "p.json") == {"done": [], "left": []}
    refused = duplicates("--plan", "p.json", "--do", "delete", exit_code=1).stderr
    assert "was applied; undo or purge it" in refused
    assert "3 files are back where they were." in percert("index", "undo", "p.json").stdout
    assert there(store) == before
    assert len(percert_json("index", "apply", "p.json")["done"]) == 3
    assert "3 files would be deleted for good: --yes" in percert("index", "purge", "p.json").stdout
    assert len(percert_json("index", "purge", "p.json", "--yes")["done"]) == 3
    said = percert("index", "undo", "p.json", exit_code=1)
    assert "0 files are back where they were." in said.stdout
    assert said.stderr.count("was purged") == 3
    assert list((store.parent / "photos").rglob(".percert-trash*")) == []


def test_hard_links_are_of_the_same_bytes_and_moved_files_keep_their_places(
    duplicates, store, percert
):
    duplicates("--keep", "oldest", "--plan", "links.json", "--do", "hardlink")
    assert "1 files are linked now." in percert("index", "apply", "links.json").stdout
    photos = store.parent / "photos"
    assert os.path.samefile(photos / "twin.png", photos / "cat.png")
    percert("index", "undo", "links.json")
    duplicates("--keep", "oldest", "--plan", "m.json", "--do", "move", "--to", "away")
    assert "3 files are moved now." in percert("index", "apply", "m.json").stdout
    assert sorted(os.listdir("away")) == ["noisy.png", "small.png", "twin.png"]


def test_what_changed_is_left_alone_and_the_status_says_so(duplicates, store, percert):
    duplicates("--keep", "oldest", "--plan", "p.json", "--do", "delete")
    with (store.parent / "photos" / "small.png").open("ab") as file:
        file.write(b"more")
    said = percert("index", "apply", "p.json", exit_code=1)
    assert "2 files are in the trash now." in said.stdout
    assert "1 files were left alone" in said.stderr
    assert "small.png: has changed since" in said.stderr
    assert there(store) == ["cat.png", "coffee.png", "small.png"]


@pytest.mark.parametrize(
    "options",
    [
        ("--plan", "p.json"),
        ("--do", "delete"),
        ("--plan", "p.json", "--do", "move"),
        ("--plan", "p.json", "--do", "delete", "--to", "away"),
        ("--keep", "finest"),
    ],
)
def test_options_that_do_not_go_together_are_misuse(duplicates, store, options):
    duplicates(*options, exit_code=2)
    assert not (store.parent / "p.json").exists()
    assert not (store.parent / "away").exists()
