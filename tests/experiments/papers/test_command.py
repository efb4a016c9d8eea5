"""``python -m experiments papers``: list, one, all."""

import json

import pytest
from typer.testing import CliRunner

from experiments.papers.__main__ import app


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    for name in ("PERCERT_DATA", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def papers():
    """``papers("list", ...)`` gives the runner's result."""

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(app, list(arguments))
        said = f"{result.stdout}{result.stderr}"
        assert result.exit_code == exit_code, said
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        return result

    return run


@pytest.fixture
def papers_json(papers):
    return lambda *arguments: json.loads(papers(*arguments, "--json").stdout)


def test_the_list_says_what_each_takes(papers_json, papers):
    items = {item["name"]: item for item in papers_json("list")["items"]}
    assert len(items) == 32
    assert items["hpot-section4"]["state"] == "offline"
    assert items["lipsim-figure4"]["state"] == "offline"
    assert items["lipsim-table4"]["needs"][0]["size"] == "58 GB unpacked"
    assert items["hpot-figure13"]["state"] == "needs data"
    assert "hpot-figure13" in papers("list").stdout


def test_one_item(papers, papers_json, tmp_path):
    said = papers("hpot-section4", "--out", "out").stdout
    assert "0.02554" in said
    assert "paired" in said
    found = papers_json("hpot-section4", "--out", "out")
    assert found["items"][0]["outcome"] == "made"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "reproduce.md", "reproduce.json", "records.parquet", "run.json"} <= names


def test_what_cannot_be_made_says_what_it_takes(papers):
    result = papers("hpot-figure13", exit_code=1)
    assert "flickr.com" in result.stdout
    result = papers("lipsim-figure4", exit_code=1)
    assert "retrieval_images.zip" in result.stdout
    result = papers("hpot-figure3", "--out", "out", exit_code=1)
    assert "mnist" in result.stderr


def test_all_goes_on_without_data_and_says_so(papers, tmp_path):
    result = papers("all", "--offline", "--out", "out", exit_code=1)
    assert "hpot-table1: needs images" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "0.02554" in page
    assert "Not made" in page


def test_misuse(papers):
    assert "--offline" in papers("all", exit_code=2).stderr
    (line,) = papers("hpot-tabel1", exit_code=1).stderr.splitlines()
    assert "did you mean 'hpot-table1'" in line
