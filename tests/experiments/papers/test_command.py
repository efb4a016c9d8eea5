"""``python -m experiments papers``: list, one, all."""

import json
import re

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
    shown = papers("list").stdout
    assert "hpot-figure13" in shown
    # What became of it in the last run on record, and how long that took.
    (line,) = [line for line in shown.splitlines() if line.startswith("hpot-section4 ")]
    assert re.search(r"the paper's own, \d+ s", line)


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
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "It takes, in the folder DATA that --data names:" in lines  # a line each
    assert "\\n" not in result.stdout
    result = papers("lipsim-figure4", exit_code=1)
    assert "retrieval_images.zip" in result.stdout
    result = papers("hpot-figure3", "--out", "out", exit_code=1)
    assert "mnist" in result.stderr


def test_all_goes_on_without_data_and_says_so(papers, tmp_path):
    result = papers("all", "--out", "out", exit_code=1)
    assert "hpot-table1: needs images" in result.stderr
    assert "tables and figures to make: about " in result.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "0.02554" in page
    assert "Not made" in page


def test_one_item_says_how_long_it_took_on_record(papers):
    assert " where docs/results/reproduce.md was made" in papers(
        "hpot-table1", exit_code=1).stderr.splitlines()[0]  # fmt: skip


def test_misuse(papers, tmp_path):
    said = papers("hpot-table1", "--data", str(tmp_path / "none"), exit_code=2).stderr
    assert "does not" in said
    assert "either" in papers("all", "--thorough", "--standard-aa", exit_code=2).stderr
    (line,) = papers("hpot-tabel1", exit_code=1).stderr.splitlines()
    assert "did you mean 'hpot-table1'" in line


def test_the_page_has_what_earlier_commands_left(papers, papers_json, tmp_path):
    papers("hpot-section4", "--out", "out")
    found = papers_json("hpot-table5", "--out", "out")
    assert [item["name"] for item in found["items"]] == ["hpot-table5"]
    text = (tmp_path / "out" / "reproduce.md").read_text(encoding="utf-8")
    assert text.index("## hpot-table5") < text.index("## hpot-section4")
    said = "Of 6 tables and figures: 1 stand-in, 1 the paper's own, 2 nothing to run, 2 needs data."
    assert said in text
    assert "Not made in this folder: lipsim-table1, " in text
    kept = json.loads((tmp_path / "out" / "reproduce.json").read_text())
    made = {item["name"] for item in kept["items"] if item["outcome"] == "made"}
    assert made == {"hpot-table5", "hpot-section4"}
    more = {f"hpot-figure{number}" for number in (1, 2, 12, 13)}  # what small data do not make
    assert {item["name"] for item in kept["items"]} == made | more
    assert "0.02554" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_one_paper_alone(papers, tmp_path):
    papers("lipsim", "--out", "out", exit_code=1)
    made = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    # What takes no weights of SqueezeNet's is made of the photographs that come with percert.
    assert made == {"lipsim-table2", "lipsim-figure5", "judged-triplets"}
    papers("hpot", "--out", "other", exit_code=1)
    made = {path.name for path in (tmp_path / "other").iterdir() if path.is_dir()}
    assert {"hpot-section4", "hpot-table5"} <= made
    assert not any(name.startswith("lipsim") for name in made)


def test_what_is_made_already_is_not_estimated(papers):
    first = papers("hpot", "--out", "out", exit_code=1).stderr
    again = papers("hpot", "--out", "out", exit_code=1).stderr
    counts = [int(said.split(" of ")[0].split()[-1]) for said in (first, again)]
    assert counts[1] < counts[0]
