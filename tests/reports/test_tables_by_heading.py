"""Tables of joined reports and of the papers' items, and what becomes of a table in HTML.

All values differ, so that no two columns, rows or names can change places unseen.
"""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from tests.reports.tables import said, tables_of

from experiments.papers.item import Compared, Findings, PaperItem, StandIn
from experiments.papers.page import markdown
from experiments.papers.report import answer, outcome_section, summary_table
from experiments.papers.run import PaperOutcome
from percert.reports.page import Section, Table, how_made, render_page
from percert.reports.run_comparison import Run, audits_section, columns_section, overview


class Cells(HTMLParser):
    """The texts of th and td, a list a row."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("th", "td")
        if self.inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, text):
        if self.inside:
            self.rows[-1][-1] += text.strip()


def test_a_page_has_the_cells_of_its_tables_in_their_order():
    columns = (("name", "left"), ("<first>", "right"), ("second", "right"))
    rows = (("a & b", "1", "2"), ("c", "3", "4"))
    page = Cells()
    page.feed(render_page("Title", [Section("Numbers", (Table(columns, rows),))]))
    assert page.rows == [["name", "<first>", "second"], ["a & b", "1", "2"], ["c", "3", "4"]]


def run(name, folder, rows, seconds):
    record = {
        "command": ["percert", "audit", "groups", name],
        "written": f"2026-01-0{int(seconds)}",
        "seconds": seconds,
        "device": "cpu" if seconds == 1 else "cuda",
        "versions": {"percert": "0.1"},
        "commit": f"{int(seconds)}" * 40,
        "settings": {"seed": int(seconds), "draws": 9},
    }
    return Run(name, folder, record, rows)


def rows_of(start):
    return [
        {"model": "m", "group": group, "n": 10 * place, "accuracy": start + place / 10}
        for place, group in enumerate(("DEU", "FRA"), 1)
    ]


def audits(tmp_path):
    runs = []
    for place, name in enumerate(("one", "two"), 1):
        folder = tmp_path / name
        folder.mkdir()
        line = {
            "model": f"m{place}", "covariance": f"c{place}", "slope": place / 10,
            "interval": [place / 20, place / 5], "f": place + 0.5, "p_value": place / 100,
        }  # fmt: skip
        (folder / "audit.json").write_text(json.dumps({"models": [line]}))
        runs.append(run(name, folder, rows_of(place / 20), float(place)))
    return runs


def test_runs_side_by_side(tmp_path):
    whole, settings = map(said, tables_of([overview(audits(tmp_path))]))
    assert whole[1] == {
        "run": "two", "command": "percert audit groups two", "made": "2026-01-02",
        "seconds": "2.0", "records": "2", "device": "cuda", "percert": "0.1",
        "commit": "2" * 12,
    }  # fmt: skip
    assert settings == [{"setting": "seed", "one": "1", "two": "2"}]


def test_audits_side_by_side(tmp_path):
    lines, groups = map(said, tables_of([audits_section(audits(tmp_path))]))
    assert lines[1] == {
        "run": "two", "model": "m2", "covariance": "c2", "slope": "+0.2000",
        "interval": "+0.1000 to +0.4000", "F": "2.500", "p": "0.02",
    }  # fmt: skip
    assert groups == [
        {"group": "DEU", "one: n, accuracy": "10, 0.1500", "two: n, accuracy": "10, 0.2000"},
        {"group": "FRA", "one: n, accuracy": "20, 0.2500", "two: n, accuracy": "20, 0.3000"},
    ]


def test_columns_side_by_side():
    runs = [
        Run(name, Path(name), None, [{"metric": "m", "distance": start + k} for k in (0, 1, 5)])
        for name, start in (("one", 1.0), ("two", 20.0))
    ]
    (table,) = map(said, tables_of([columns_section("eval", runs)]))
    (row,) = [row for row in table if row["column"] == "distance"]
    assert row == {"of": "m", "column": "distance", "one": "3 (2, 3)", "two": "22 (21, 3)"}


def test_how_a_run_was_made(tmp_path):
    _, settings = tables_of([how_made(run("one", tmp_path, [], 1.0).record)])
    assert said(settings) == [{"setting": "seed", "value": "1"}, {"setting": "draws", "value": "9"}]


ITEM = PaperItem(
    name="hpot-table1", paper="hpot", title="Table 1", how="this, as a whole", offline="less of it",
    run="some:thing", shows="Shown is less.",
)  # fmt: skip
FOUND = Findings((Compared("success", 95.0, 90.5, "%"), Compared("l2", 2.0, 5.0)))


def test_the_papers_numbers_and_ours():
    made = PaperOutcome(
        ITEM,
        "made",
        replace(FOUND, stands=()),
        seconds=12.0,
        written="2026-01-02T03:04:05",
        commit="0123456789abcdef",
    )
    (numbers,) = tables_of([outcome_section(made)])
    assert said(numbers) == [
        {"": "success", "paper": "95 %", "measured": "90.5 %", "deviation": "-4.5 points"},
        {"": "l2", "paper": "2", "measured": "5", "deviation": "+3 (x 2.5)"},
    ]
    summary = summary_table([made])
    (row,) = said(summary)
    assert row == {
        "name": "hpot-table1", "what": "Table 1", "status": "the paper's own", "seconds": "12",
        "made": "2026-01-02 0123456789", "to make it the paper's own": "",
    }  # fmt: skip
    text = markdown([made], None)
    assert "| hpot-table1 | Table 1 | the paper's own | 12 |" in text
    assert "|  | paper | measured | deviation |" in text
    assert "| success | 95 % | 90.5 % | -4.5 points |" in text


def test_a_stand_in_says_what_stands_for_what_and_has_no_deviation():
    stands = (StandIn("ResNet-50", "SqueezeNet"), StandIn("1,000 photographs", "4"))
    made = PaperOutcome(ITEM, "made", replace(FOUND, stands=stands), seconds=12.0)
    standing, numbers = tables_of([outcome_section(made)])
    assert said(standing) == [
        {"of the paper": "ResNet-50", "here": "SqueezeNet"},
        {"of the paper": "1,000 photographs", "here": "4"},
    ]
    assert said(numbers)[0] == {"": "success", "paper": "95 %", "measured": "90.5 %"}
    (row,) = said(summary_table([made]))
    assert (row["status"], row["to make it the paper's own"]) == ("stand-in", "this, as a whole")
    text = markdown([made], None)
    assert "*A stand-in. Shown is less.*" in text
    assert "| ResNet-50 | SqueezeNet |" in text
    assert "|  | paper | measured |\n" in text
    assert "| success | 95 % | 90.5 % |\n" in text
    assert "points" not in text.partition("## hpot-table1")[2]
    rows = answer(made)["rows"]
    assert [row["deviation"] for row in rows] == [None, None]
