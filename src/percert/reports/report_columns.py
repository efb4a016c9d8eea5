"""Runs of any kind side by side: what their columns of numbers hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from percert.reports.page import Section, Table
from percert.reports.records import Row
from percert.reports.report_runs import Run

#: Columns that say what a row is of: the first of them that a run has splits its numbers.
SPLITS = (
    "attack",
    "detector",
    "metric",
    "method",
    "model",
    "defence",
    "edit",
    "dataset",
    "split",
    "kind",
)
#: With more values than this a column does not split anything, it names the rows.
MOST = 40


@dataclass(frozen=True)
class ColumnNumbers:
    """One column of one part of the rows: how many values, their mean and median."""

    part: str
    column: str
    count: int
    mean: float
    median: float


def column_numbers(rows: Sequence[Row]) -> list[ColumnNumbers]:
    """Every column of numbers, by part; what is true or false counts as 1 and 0.

    >>> rows = [{"metric": "ssim", "image": "a", "right": True},
    ...         {"metric": "ssim", "image": "b", "right": False}]
    >>> column_numbers(rows)
    [ColumnNumbers(part='ssim', column='right', count=2, mean=0.5, median=0.5)]
    """
    if not rows:
        return []
    split = next((name for name in SPLITS if _splits(rows, name)), None)
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault("" if split is None else str(row[split]), []).append(row)
    found = []
    for part, some in parts.items():
        for name in some[0]:
            values = [row[name] for row in some if row.get(name) is not None]
            if values and all(isinstance(value, bool | int | float) for value in values):
                numbers = [float(value) for value in values]
                found.append(
                    ColumnNumbers(part, name, len(values), fmean(numbers), median(numbers))
                )
    return found


def _splits(rows: Sequence[Row], name: str) -> bool:
    values = {row.get(name) for row in rows}
    return all(isinstance(value, str) for value in values) and len(values) <= MOST


def columns_section(verb: str, runs: Sequence[Run]) -> Section:
    """Runs of one verb: a row a part and column, a column a run."""
    numbers = {
        run.name: {(entry.part, entry.column): entry for entry in column_numbers(run.rows)}
        for run in runs
    }
    keys = list(dict.fromkeys(key for found in numbers.values() for key in found))
    table = Table(
        (("of", "left"), ("column", "left"), *((name, "right") for name in numbers)),
        tuple(
            (part, column, *(_cell(found.get((part, column))) for found in numbers.values()))
            for part, column in keys
        ),
        "Means, in parentheses medians and the number of values; what is true or false counts as 1 "
        "and 0.",
    )
    return Section(verb or "Records", (table,))


def _cell(entry: ColumnNumbers | None) -> str:
    if entry is None:
        return "-"
    return f"{entry.mean:.4g} ({entry.median:.4g}, {entry.count:,})"
