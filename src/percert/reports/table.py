"""One path to a table: a column says its name, its value and its format, and every form follows.

A table is made by :meth:`Table.of` from rows of any kind and from columns, so that the name of a
column and what stands below it are written in one place and cannot change places. The page of a
report, a terminal, Markdown, CSV and JSON are made of the same columns.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from percert.check import printable

if TYPE_CHECKING:
    import rich.table

Row = TypeVar("Row")
Side: TypeAlias = Literal["left", "right"]
#: How a value becomes text: a specification such as ``".4g"``, or a function of the value.
Format: TypeAlias = str | Callable[[Any], str]

#: What stands for a value that is not there.
NOTHING = "-"


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, and a dash for ``None``.

    >>> number(0.00123456), number(2491.13), number(None)
    ('0.00123', '2490', '-')
    """
    if value is None:
        return NOTHING
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e7 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent, and a dash for ``None``.

    >>> percent(0.985), percent(0.98765, 2), percent(None)
    ('98.5 %', '98.77 %', '-')
    """
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def p_value(value: float) -> str:
    """A p-value as sentences have it, with its sign.

    >>> p_value(0.025541), p_value(1.2e-9)
    ('p = 0.02554', 'p < 0.0001')
    """
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4g}"


def text_of(value: Any, format: Format = "", missing: str = NOTHING) -> str:
    """A value as text: ``missing`` for ``None``, the ends of an interval joined by "to".

    >>> text_of(0.12345, ".3f"), text_of((-0.1, 0.25), "+.4g"), text_of(None, ".3f")
    ('0.123', '-0.1 to +0.25', '-')
    """
    if value is None:
        return missing
    if callable(format):
        return format(value)
    if isinstance(value, tuple | list):
        return " to ".join(text_of(part, format, missing) for part in value)
    return value if isinstance(value, str) else f"{value:{format}}"


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: its ``name``, the ``value`` that a row has there, and how it is written.

    ``format`` is a specification such as ``".4g"``, or a function of the value; see
    :func:`text_of`. Without one a value is text, and stands to the left; all others stand to the
    right unless ``side`` says otherwise. On a terminal the name is ``short``, where that is given,
    and columns that are ``wide`` are left out.
    """

    name: str
    value: Callable[[Row], Any]
    format: Format = ""
    missing: str = NOTHING
    side: Side | None = None
    short: str = ""
    wide: bool = False

    def text(self, row: Row) -> str:
        """The cell of ``row``."""
        return text_of(self.value(row), self.format, self.missing)


@dataclass(frozen=True)
class Table:
    """Cells of text under headings: ``columns`` are (heading, "left" or "right").

    Made by :meth:`of`.
    """

    columns: tuple[tuple[str, Side], ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    kind = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}: expected {len(self.columns)} cells a row, found "
                    f"{len(row)} in {row}"
                )

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        columns: Sequence[Column[Row]],
        caption: str = "",
        *,
        short: bool = False,
    ) -> "Table":
        """The table of ``rows``; with ``short`` as it is on a terminal.

        >>> columns = [
        ...     Column("name", lambda row: row[0]),
        ...     Column("share", lambda row: row[1], percent),
        ... ]
        >>> found = Table.of([("a", 0.5), ("b", None)], columns)
        >>> found.columns, found.rows
        ((('name', 'left'), ('share', 'right')), (('a', '50.0 %'), ('b', '-')))
        """
        columns = [column for column in columns if not (short and column.wide)]
        heads = tuple(
            (
                (column.short if short else "") or column.name,
                column.side or ("left" if column.format == "" else "right"),
            )
            for column in columns
        )
        return cls(heads, tuple(tuple(c.text(row) for c in columns) for row in rows), caption)

    def markdown(self) -> str:
        """The table as Markdown, without its caption.

        >>> print(Table.of([1], [Column("n", lambda n: n, "d")]).markdown(), end="")
        | n |
        | ---: |
        | 1 |
        """
        rule = ["---" if side == "left" else "---:" for _, side in self.columns]
        lines = [[name for name, _ in self.columns], rule, *self.rows]
        cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
        return "".join(f"| {' | '.join(line)} |\n" for line in cells)

    def terminal(self) -> "rich.table.Table":
        """The table for a terminal, without its caption: nothing is cut off. Needs rich."""
        from rich import box
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for heading, side in self.columns:
            grid.add_column(Text(printable(heading)), justify=side, overflow="fold")
        for row in self.rows:
            grid.add_row(*(Text(printable(cell)) for cell in row))
        return grid


def facts(
    values: Mapping[str, str], about: str = "", heading: str = "", *, side: Side = "right"
) -> Table:
    """Single values by their names: ``about`` heads the names, ``heading`` the values.

    >>> facts({"images": "300", "copies": "6,900"}, "the set").rows
    (('images', '300'), ('copies', '6,900'))
    """
    columns: list[Column[str]] = [
        Column(about, str),
        Column(heading, lambda name: values[name], side=side),
    ]
    return Table.of(values, columns)


def records(rows: Iterable[Row], columns: Sequence[Column[Row]]) -> list[dict[str, Any]]:
    """The values themselves by name, a dictionary a row: what JSON holds.

    >>> records([0.5, float("nan")], [Column("share", lambda row: row, percent)])
    [{'share': 0.5}, {'share': None}]
    """
    return [{column.name: finite(column.value(row)) for column in columns} for row in rows]


def csv_text(rows: Iterable[Row], columns: Sequence[Column[Row]]) -> str:
    """The values themselves as CSV; what is ``None`` is an empty field.

    >>> csv_text([1, 2], [Column("group", str), Column("n", lambda n: n + 0.5, ".0f")])
    'group,n\\n1,1.5\\n2,2.5\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([column.value(row) for column in columns] for row in rows)
    return text.getvalue()


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it: dataclasses by field, arrays as lists, NaN as ``None``.

    However deep inside, infinite numbers become ``None``, too.

    >>> finite({"radius": float("inf"), "rows": (1.0, float("nan"))})
    {'radius': None, 'rows': [1.0, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: finite(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
