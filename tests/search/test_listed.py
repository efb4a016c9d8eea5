"""Parquet files that list images: by path, below a folder alone, and with ids of the user's own."""

import json
import os

import pytest

from percert.data.labelled_images import ParquetImages
from percert.images import ImageError
from percert.search.ingest.listed import listed_images
from percert.search.own_ids import keep_own_ids, own_ids_of, with_own_ids

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def written(target, /, **columns):
    pq.write_table(pa.table(columns), target)
    return target


@pytest.mark.parametrize("column", ["image", "filepath", "path", "file_name"])
def test_rows_are_files_by_relative_or_whole_paths(photos, tmp_path, column):
    names = ["0.png", str(photos / "1.png"), "./2.png"]
    listed = listed_images(
        ["other.png", written(tmp_path / "a.parquet", **{column: names}, n=[7, 8, None])],
        paths_below=photos,
        ids="n",
    )
    assert [os.path.normpath(one) for one in listed.files] == [
        "other.png", *(str(photos / f"{n}.png") for n in range(3))
    ]  # fmt: skip
    assert listed.own_ids == {str(photos / "0.png"): "7", str(photos / "1.png"): "8"}
    assert listed.bad == []


def test_structs_without_bytes_name_files(photos, tmp_path):
    rows = [{"bytes": None, "path": "0.png"}, {"bytes": None, "path": None}]
    listed = listed_images([written(tmp_path / "a.parquet", image=rows)], paths_below=photos)
    assert listed.files == [photos / "0.png"]
    assert listed.bad == [
        (f"parquet:{tmp_path / 'a.parquet'}#1", "a row without the path of an image")
    ]


def test_structs_with_bytes_stay_rows_and_have_own_ids(photos, tmp_path):
    rows = [{"bytes": (photos / "0.png").read_bytes(), "path": "../../secret.png"}]
    path = written(tmp_path / "a.parquet", image=rows, name=["mine"])
    listed = listed_images([path], paths_below=photos, ids="name")
    assert (listed.files, listed.bad) == ([path], [])
    assert listed.own_ids == {f"parquet:{path}#0": "mine"}
    assert listed_images([path], ids="name") == listed
    assert listed_images([path]).own_ids == {}


def test_what_lies_elsewhere_is_never_read(photos, tmp_path):
    (tmp_path / "secret.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "/etc/passwd", "0.png"]
    path = written(tmp_path / "a.parquet", filepath=names)
    listed = listed_images([path], paths_below=photos)
    assert listed.files == [photos / "0.png"]
    assert [why.split(",")[1] for _, why in listed.bad] == [
        f" which does not lie below {photos}"
    ] * 4  # fmt: skip


def test_what_is_no_list_is_named_and_a_column_that_is_missing_stops(photos, tmp_path):
    (tmp_path / "b.parquet").write_text("no parquet")
    paths = [tmp_path / "b.parquet", written(tmp_path / "c.parquet", label=[1])]
    listed = listed_images([*paths, photos], paths_below=photos)
    assert [os.path.basename(name) for name, _ in listed.bad] == ["b.parquet", "c.parquet"]
    assert "expected a column of paths" in listed.bad[1][1]
    assert listed.files == [photos]
    with pytest.raises(ValueError, match="paths_below: expected a folder, found"):
        listed_images(paths, paths_below=paths[0])
    with pytest.raises(ValueError, match=r"ids: expected a column of .*\(label\), not name"):
        listed_images(paths[1:], ids="name")


@pytest.mark.parametrize("name", ["picture", "image"])
def test_the_column_of_images_is_found(photos, tmp_path, name):
    data = (photos / "0.png").read_bytes()
    columns = {name: [data], "caption": ["a"]}
    assert ParquetImages(written(tmp_path / "a.parquet", **columns)).read(0) == data
    structs = {name: [{"bytes": data, "path": "x.png"}], "caption": ["a"]}
    found = ParquetImages(written(tmp_path / "b.parquet", **structs))
    assert (found.read(0), found.names()) == (data, ["x.png"])
    two = written(tmp_path / "c.parquet", first=[data], second=[data])
    with pytest.raises(ImageError, match="expected a column image, found first, second"):
        ParquetImages(two)


def test_a_renamed_file_keeps_its_own_id(tmp_path, metric, photos):
    from percert.search import open_store

    store = open_store(tmp_path / "store", metric)
    store.add_files([photos])
    was, new = str(photos / "3.png"), str(photos / "renamed.png")
    keep_own_ids(store.path, {was: "third", str(photos / "2.png"): "second"})
    os.rename(was, new)
    assert "moved" in {one.what for one in store.add_files([photos])}
    assert own_ids_of(store.path, [new]) == {new: "third"}
    # One that a table gives to the new name stays.
    keep_own_ids(store.path, {str(photos / "other.png"): "another"})
    os.rename(photos / "2.png", photos / "other.png")
    store.add_files([photos])
    assert own_ids_of(store.path, [str(photos / "other.png")]) == {
        str(photos / "other.png"): "another"
    }


def test_own_ids_stand_beside_paths_in_answers(tmp_path, metric):
    from percert.search import open_store

    store = str(open_store(tmp_path / "store", metric).path)
    answer = {"results": [{"path": "/a", "paths": ["/a", "/b"]}], "links": ()}
    assert with_own_ids(answer, store) == answer
    assert own_ids_of(store, ["/a"]) is None
    keep_own_ids(store, {"/a": "A", "/c": "C'"})
    assert own_ids_of(store, ["/a", "/b", "/c"]) == {"/a": "A", "/c": "C'"}
    told = with_own_ids({**answer, "links": ({"first_path": "/c", "second_path": None},)}, store)
    assert told["results"] == [
        {"path": "/a", "own_id": "A", "paths": ["/a", "/b"], "own_ids": ["A", None]}
    ]
    (link,) = told["links"]
    assert (link["first_own_id"], link["second_own_id"]) == ("C'", None)
    json.dumps(told)
