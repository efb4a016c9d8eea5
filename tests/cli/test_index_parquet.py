"""``percert index add`` of parquet files that list images, and ``percert index export``."""

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def test_own_ids_come_back_in_answers_and_in_the_export(files, tmp_path, percert_json, percert):
    names = ["cat.png", "inside/noisy.png", "inside/deeper/coffee.png", "../elsewhere.png"]
    table = pa.table({"filepath": names, "sku": ["A1", "A2", "A3", "A4"]})
    pq.write_table(table, tmp_path / "list.parquet")
    store = tmp_path / "store"
    add = ("index", "add", tmp_path / "list.parquet", "--store", store, "--metric", "thumbnail")
    added = percert_json(*add, "--paths-below", files, "--ids", "sku", exit_code=1)
    assert (added["added"], len(added["bad"])) == (3, 1)
    assert "does not lie below" in added["bad"][0]["reason"]
    (answer,) = percert_json("index", "search", files / "cat.png", "--store", store)["answers"]
    assert [one["own_id"] for one in answer["results"]] == ["A1", "A2", "A3"]
    assert answer["results"][0]["own_ids"] == ["A1"]
    duplicates = ("index", "duplicates", "--store", store, "--threshold", 0.1)
    (link,) = percert_json(*duplicates)["links"]
    assert {link["first_own_id"], link["second_own_id"]} == {"A1", "A2"}
    (group,) = percert_json(*duplicates, "--keep", "oldest")["groups"]
    assert {group["keep"]["own_id"], group["copies"][0]["own_id"]} == {"A1", "A2"}
    out = tmp_path / "all.parquet"
    export = ("index", "export", "--store", store, "--out", out)
    assert percert_json(*export) == {"store": str(store), "out": str(out), "rows": 3}
    assert pq.read_schema(out).names == [
        "filepath", "id", "own_id", "height", "width", "embedding"
    ]  # fmt: skip
    assert "3 rows in" in percert(*export, "--links", "--threshold", 0.1).stdout
    rows = {row["own_id"]: row for row in pq.read_table(out).to_pylist()}
    assert [one["filepath"] for one in rows["A1"]["links"]] == [rows["A2"]["filepath"]]
    assert rows["A3"]["links"] == []
    percert(*export, "--wrong", 1e-3, exit_code=2)
    no_column = percert(*add, "--ids", "name", exit_code=1).stderr
    assert "--ids: expected a column of" in no_column
