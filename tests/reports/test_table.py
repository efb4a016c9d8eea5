"""One table in every form: each cell under the heading of the column that it belongs to."""

import csv
import io
from dataclasses import dataclass

import pytest
from rich.console import Console
from tests.reports.tables import said

from percert.reports.table import Column, Table, csv_text, number, percent, records, text_of


@dataclass(frozen=True)
class Found:
    name: str
    share: float | None
    interval: tuple[float, float]
    count: int


ROWS = [Found("a|b", 0.985, (-0.25, 0.5), 1200), Found("c", None, (0.125, 0.75), 7)]
COLUMNS = [
    Column("name", lambda row: row.name),
    Column("share", lambda row: row.share, percent, short="%"),
    Column("interval", lambda row: row.interval, "+.3f"),
    Column("count", lambda row: row.count, ",", side="left"),
]


def test_a_cell_stands_under_the_name_of_its_column():
    expected = [
        {"name": "a|b", "share": "98.5 %", "interval": "-0.250 to +0.500", "count": "1,200"},
        {"name": "c", "share": "-", "interval": "+0.125 to +0.750", "count": "7"},
    ]
    assert said(Table.of(ROWS, COLUMNS)) == expected
    turned = Table.of((row for row in ROWS), COLUMNS[::-1], "a caption")
    assert said(turned) == expected  # whatever the order of the columns
    assert turned.caption == "a caption"
    assert [side for _, side in Table.of(ROWS, COLUMNS).columns] == [
        "left", "right", "right", "left"
    ]  # fmt: skip
    assert [name for name, _ in Table.of([], COLUMNS, short=True).columns][1] == "%"


def test_values_go_to_json_and_csv_as_they_are():
    assert records(ROWS, COLUMNS)[0] == {
        "name": "a|b", "share": 0.985, "interval": [-0.25, 0.5], "count": 1200
    }  # fmt: skip
    columns = [COLUMNS[3], COLUMNS[1], COLUMNS[0]]
    found = list(
        csv.DictReader(io.StringIO(csv_text([*ROWS, Found("x,y", 0.5, (0, 0), 0)], columns)))
    )
    assert found == [
        {"count": "1200", "share": "0.985", "name": "a|b"},
        {"count": "7", "share": "", "name": "c"},
        {"count": "0", "share": "0.5", "name": "x,y"},
    ]


def test_markdown_keeps_a_bar_inside_its_cell():
    lines = Table.of(ROWS, COLUMNS).markdown().splitlines()
    assert lines[0] == "| name | share | interval | count |"
    assert lines[1] == "| --- | ---: | ---: | --- |"
    assert lines[2] == r"| a\|b | 98.5 % | -0.250 to +0.500 | 1,200 |"


def test_a_terminal_acts_upon_nothing_in_a_table():
    names = [Column("[red]x", lambda row: row), Column("n", lambda row: 1, "d")]
    console = Console(file=io.StringIO(), width=60, force_terminal=True)
    console.print(Table.of(["a\x1b[2Jb", "[bold]c", "q" * 70], names).terminal())
    shown = console.file.getvalue()
    assert "[red]x" in shown
    assert "a\\x1b[2Jb" in shown
    assert "[bold]c" in shown
    assert shown.count("q") == 70  # folded, not cut off


def test_numbers():
    assert [number(value) for value in (0.00123456, 2491.13, 12345678.0, 0.0, None)] == [
        "0.00123", "2490", "1.23e+07", "0", "-"
    ]  # fmt: skip
    assert number(2491.13, 5) == "2491.1"
    assert [percent(value) for value in (0.9996, 1.0, None)] == ["100.0 %", "100.0 %", "-"]
    assert text_of((None, 2.0), ".1f", missing="?") == "? to 2.0"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="expected 2 cells a row, found 1"):
        Table((("a", "left"), ("b", "right")), (("1",),))
