"""Every table is made of columns, each of which says its name and its value in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Where a table is written out by hand all the same, and why.
BY_HAND = {
    "src/percert/reports/table.py": "the one path",
    "src/percert/reports/templates/table.html": "the HTML of a `Table`, whatever its columns are",
    "src/percert/reports/templates/page.html": "includes table.html",
    "src/percert/app/html/wide_table.html": "includes table.html",
    "src/percert/app/html/audit_answer.html": "includes table.html",
    "src/percert/app/html/job_attack.html": "its cells hold bars (<meter>) beside the numbers",
}
#: What writes a table: Markdown's rule, cells joined by bars, HTML, a grid of rich, rows of CSV.
SIGNS = ("| ---", "---:", "<table", "<th ", "<th>")
JOINED = (" | ", "|")
CALLS = ("add_column", "add_row", "writerow", "writerows")


def sources(*patterns: str) -> list[Path]:
    folders = (ROOT / "src", ROOT / "experiments", ROOT / "demo", ROOT / "docs")
    found = {
        path
        for folder in folders
        for pattern in patterns
        for path in folder.rglob(pattern)
        if "_build" not in path.parts
    }
    return sorted(found)


def by_hand(tree: ast.AST) -> Iterator[str]:
    """What in a module writes out a table itself; docstrings, which may show one, left out."""
    shown = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield from (sign for sign in SIGNS if sign in node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CALLS:
                yield node.func.attr
            if (
                node.func.attr == "join"
                and isinstance(node.func.value, ast.Constant)
                and node.func.value.value in JOINED
            ):
                yield f"{node.func.value.value!r}.join"


def by_place(tree: ast.AST) -> Iterator[str]:
    """Columns whose value is found by the place of their name: these can change places."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Column":
            for value in node.args[1:2]:
                if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "itemgetter":
                    names = [ast.unparse(one) for one in value.args]
                    if not all(
                        isinstance(one, ast.Constant | ast.JoinedStr) for one in value.args
                    ) or any(name.isdigit() for name in names):
                        yield f"itemgetter({', '.join(names)})"
        loops = getattr(node, "generators", [node] if isinstance(node, ast.For) else [])
        for loop in loops:
            numbered = getattr(getattr(loop.iter, "func", None), "id", "") in ("enumerate", "zip")
            made = [*getattr(node, "body", []), *filter(None, [getattr(node, "elt", None)])]
            called = [one for each in made for one in ast.walk(each) if isinstance(one, ast.Call)]
            if numbered and any(getattr(one.func, "id", "") == "Column" for one in called):
                yield f"Column for {ast.unparse(loop.iter)}"


def test_no_table_is_written_out_by_hand():
    found: dict[str, list[str]] = {}
    for path in sources("*.py"):
        signs = list(by_hand(ast.parse(path.read_text("utf-8"))))
        found |= {str(path.relative_to(ROOT)): signs} if signs else {}
    for path in sources("*.html"):
        if "<table" in path.read_text("utf-8") or "<th" in path.read_text("utf-8"):
            found[str(path.relative_to(ROOT))] = ["<table"]
    assert {name: signs for name, signs in found.items() if name not in BY_HAND} == {}
    assert set(BY_HAND) == set(found), "these write no table any more"


def test_no_column_finds_its_value_by_its_place():
    found = {
        str(path.relative_to(ROOT)): signs
        for path in sources("*.py")
        if (signs := list(by_place(ast.parse(path.read_text("utf-8")))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "Column(name, itemgetter(place))",
        "Column('a', itemgetter(0))",
        "[Column(name, at(i)) for i, name in enumerate(names)]",
        "[Column(name, value) for name, value in zip(header, values)]",
        "for i, name in enumerate(names): columns.append(Column(name, at(i)))",
    ],
)
def test_columns_by_place_are_seen(line):
    assert list(by_place(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["' | '.join(row)", "x = '| --- | ---: |'", "grid.add_row('a')", "out.writerow(header)"]
)
def test_tables_by_hand_are_seen(line):
    assert list(by_hand(ast.parse(line)))
