"""``percert reproduce``: list, one, all."""

import pytest


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("PERCERT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_list_says_what_each_takes(percert_json, percert):
    items = {item["name"]: item for item in percert_json("reproduce", "list")["items"]}
    assert len(items) == 32
    assert items["hpot-section4"]["state"] == "offline"
    assert items["lipsim-figure4"]["state"] == "offline"
    assert items["lipsim-table4"]["needs"][0]["size"] == "58 GB unpacked"
    assert items["hpot-figure13"]["state"] == "needs data"
    assert "hpot-figure13" in percert("reproduce", "list").stdout


def test_one_item(percert, percert_json, tmp_path):
    said = percert("reproduce", "hpot-section4", "--out", "out").stdout
    assert "0.02554" in said
    assert "paired" in said
    found = percert_json("reproduce", "hpot-section4", "--out", "out")
    assert found["items"][0]["outcome"] == "made"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "reproduce.md", "reproduce.json", "records.parquet", "run.json"} <= names


def test_what_cannot_be_made_says_what_it_takes(percert):
    result = percert("reproduce", "hpot-figure13", exit_code=1)
    assert "flickr.com" in result.stdout
    result = percert("reproduce", "lipsim-figure4", exit_code=1)
    assert "retrieval_images.zip" in result.stdout
    result = percert("reproduce", "hpot-figure3", "--out", "out", exit_code=1)
    assert "mnist" in result.stderr


def test_all_goes_on_without_data_and_says_so(percert, tmp_path):
    result = percert("reproduce", "all", "--offline", "--out", "out", exit_code=1)
    assert "hpot-table1: needs images" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "0.02554" in page
    assert "Not made" in page


def test_misuse(percert):
    assert "--offline" in percert("reproduce", "all", exit_code=2).stderr
    (line,) = percert("reproduce", "hpot-tabel1", exit_code=1).stderr.splitlines()
    assert "did you mean hpot-table1" in line
