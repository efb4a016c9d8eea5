"""Items are made once, kept, and put beside the paper's numbers."""

import json
from dataclasses import replace

import pytest

from experiments.papers import CATALOG, Compared, Findings, Setting, run_item, run_offline
from experiments.papers.item import PaperItem
from experiments.papers.page import markdown
from experiments.papers.report import answer, number, outcome_section
from experiments.papers.run import PaperOutcome, kept_outcome, with_what_takes_more
from percert.reports import read_records, read_run
from percert.reports.page import render_page


def an_item(run):
    shows = "Shown is a mean."
    return PaperItem("hpot-table1", "hpot", "a table", "so", offline="small", run=run, shows=shows)


def missing_mean(setting):
    return Findings((Compared("a", 1.0, float("nan")), Compared("b", 0.5, 0.75, "%")), ("x",))


def refuses(setting):
    raise ValueError("two\nlines")


def needs_a_package(setting):
    raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")


def test_the_printed_p_values_are_met(tmp_path):
    outcome = run_item(CATALOG["hpot-section4"], Setting(tmp_path))
    assert outcome.findings.same
    for row in outcome.findings.rows:
        if row.paper is not None:
            assert abs(row.deviation) < 5e-6


def test_what_is_made_is_kept_and_not_made_again(tmp_path, monkeypatch):
    item, setting = CATALOG["hpot-table5"], Setting(tmp_path)
    first = run_item(item, setting)

    def fail(_):
        raise AssertionError("made again")

    monkeypatch.setattr("experiments.papers.hpot.tables.table_5", fail)
    assert run_item(item, setting).findings == first.findings
    with pytest.raises(AssertionError, match="made again"):
        run_item(item, Setting(tmp_path, images=9))
    rows = read_records(tmp_path / item.name / "records.parquet")
    assert [row["what"] for row in rows] == [row.what for row in first.findings.rows]
    assert read_run(tmp_path / item.name)["finished"]


def test_a_number_that_does_not_exist_is_none(tmp_path):
    outcome = run_item(an_item(f"{__name__}:missing_mean"), Setting(tmp_path))
    first, second = outcome.findings.rows
    assert first.measured is None
    assert first.deviation is None
    assert second.deviation == 0.25
    assert outcome.findings.deviation(second) is None  # of a stand-in
    json.dumps(answer(outcome), allow_nan=False)
    (row, _) = read_records(tmp_path / "hpot-table1" / "records.parquet")
    assert row["measured"] is None


@pytest.mark.parametrize(
    ("function", "state", "said"),
    [
        ("refuses", "failed", "two lines"),
        ("needs_a_package", "data missing", "needs the package nowhere"),
    ],
)
def test_what_cannot_be_made_is_an_outcome(tmp_path, function, state, said):
    outcome = run_item(an_item(f"{__name__}:{function}"), Setting(tmp_path))
    assert (outcome.state, outcome.reason) == (state, said)
    assert not (tmp_path / "hpot-table1").exists()


def test_missing_data_say_what_to_put_where(tmp_path):
    for name in ("hpot-figure3", "hpot-table1"):
        outcome = run_item(CATALOG[name], Setting(tmp_path / "out"))
        assert outcome.state == "data missing"
        assert "--data" in outcome.reason
    outcome = run_item(CATALOG["lipsim-table1"], Setting(tmp_path / "out"))
    assert outcome.state == "data missing"
    assert "--weights" in outcome.reason  # photographs come with percert, SqueezeNet's do not
    (tmp_path / "imagenet-compatible" / "images").mkdir(parents=True)
    outcome = run_item(CATALOG["hpot-table1"], Setting(tmp_path / "out", tmp_path))
    assert str(tmp_path / "imagenet-compatible" / "images.csv") in outcome.reason


def test_an_item_that_needs_data_says_how_to_make_it(tmp_path):
    (outcome,) = run_offline(Setting(tmp_path), items=[CATALOG["hpot-figure13"]])
    assert outcome.state == "not offline"
    page = render_page("t", [outcome_section(outcome)])
    assert "countries.csv" in page
    assert "https://www.flickr.com/services/api/" in page
    assert "Size: unknown" in page


def test_the_page_and_the_markdown_say_what_is_a_stand_in(tmp_path):
    made = run_item(an_item(f"{__name__}:missing_mean"), Setting(tmp_path))
    exact = run_item(CATALOG["hpot-section4"], Setting(tmp_path))
    record = {
        "written": "2024-01-01T00:00:00",
        "command": ["percert", "x"],
        "versions": {"torch": "2.13"},
        "seconds": 1.0,  # of the last of several runs
    }
    plain = {"written": "", "commit": "", "command": "percert x"}
    made, exact = (replace(one, **plain) for one in (made, exact))
    text = markdown([replace(made, seconds=100.0), replace(exact, seconds=20.0)], record)
    assert "Made on 2024-01-01, in 2 minutes, by" in text
    assert "$ percert x" in text
    assert "torch 2.13" in text
    assert "| hpot-table1 | a table | stand-in | 100 |  | so |" in text
    assert "| b | 0.5 % | 0.75 % |\n" in text
    assert "| a | 1 | - |\n" in text
    assert text.count("stand-in |") == 1
    assert text.count("\n*A stand-in. ") == 1
    assert "*A stand-in. Shown is a mean.*" in text
    assert "A stand-in" in render_page("t", [outcome_section(made)])
    assert "A stand-in" not in render_page("t", [outcome_section(exact)])


def test_an_item_says_at_which_commit_it_was_made(tmp_path):
    one = run_item(an_item(f"{__name__}:missing_mean"), Setting(tmp_path))
    assert one.written
    assert kept_outcome(one.item, tmp_path) == one
    first = replace(one, written="2024-01-01T00:00:00", commit="0123456789abcdef")
    second = replace(first, item=replace(one.item, name="hpot-table9"), commit="f" * 40)
    record = {"command": ["percert", "x"], "commit": "f" * 40}
    assert f"commit {'f' * 40}," in markdown([second], record)
    text = markdown([first, second], record)
    assert "f" * 40 not in text  # the first was not made at it
    assert "each item at the commit that the table names" in text
    assert "| 2024-01-01 0123456789 |" in text
    assert "| 2024-01-01 ffffffffff |" in text
    assert answer(first)["commit"] == first.commit
    assert answer(first)["images"] == Setting(tmp_path).images


def test_a_page_of_several_items_has_what_small_data_do_not_make():
    made = [
        PaperOutcome(CATALOG[name], "made", Findings(()))
        for name in ("hpot-figure3", "hpot-table1")
    ]
    names = [outcome.item.name for outcome in with_what_takes_more(made)]
    none = ["hpot-figure1", "hpot-figure2"]
    assert names == ["hpot-table1", *none, "hpot-figure3", "hpot-figure12", "hpot-figure13"]
    text = markdown(with_what_takes_more(made), None)
    assert "| hpot-figure13 | share of images by country | needs data |" in text
    assert "- **hpot-figure13**: To make it: percert data geo LIST" in text
    assert with_what_takes_more(made[:1]) == made[:1]


def test_a_page_of_several_commands_does_not_name_one_for_all(tmp_path):
    one = run_item(an_item(f"{__name__}:missing_mean"), Setting(tmp_path))
    other = replace(one, item=replace(one.item, name="hpot-table9"), command="another")
    record = {"written": "2024-01-02T00:00:00", "command": ["another"]}
    text = markdown([one, other], record)
    assert "Made by 2 commands, in 0 minutes; the last of them, on 2024-01-02:" in text
    assert f"Made by `{one.command}`." in text


def test_what_differs_in_several_items_is_said_once(tmp_path):
    first = run_item(an_item(f"{__name__}:missing_mean"), Setting(tmp_path))
    second = replace(first, item=replace(first.item, name="hpot-table9"))
    text = markdown([first, second], None)
    assert text.count("\n- x\n") == 1
    assert "- What is said of the same things under hpot-table1." in text


def test_what_was_not_made_says_why_and_what_to_download(tmp_path):
    missing = run_item(CATALOG["hpot-figure12"], Setting(tmp_path))
    text = markdown([missing], None)
    assert "**hpot-figure12**: needs" in text
    assert "| DATA/weights/lpips-alex.pth |" in text
    assert "233 MiB" in text


def test_numbers_are_written_with_the_digits_that_count():
    assert [number(v) for v in (100.0, 2544.206, 123456.7, 1.2e-7)] == [
        "100",
        "2544.2",
        "123457",
        "1.2e-07",
    ]
