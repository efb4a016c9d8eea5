"""Folders that runs of percert left behind, side by side: what was run, and what came out.

Runs of ``percert attack`` have a report of their own (``percert.evaluation``); audits of groups are
shown by their lines and groups, all others by what their columns of numbers hold.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

import numpy as np

from percert.reports.page import Block, Figure, Paragraph, Section, as_text, rerun
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import SHARDS, Row, read_records, read_run
from percert.reports.table import Column, Table

RECORDS = "records.parquet"

#: What a row of an attack has, and a row of an audit of groups.
_ATTACK = frozenset({"image", "attack", "attacked", "success", "success_8bit"})
_AUDIT = frozenset({"model", "group", "n", "accuracy"})


@dataclass(frozen=True)
class Run:
    """One folder. ``name`` tells it from the others, ``record`` is its ``run.json``, if any.

    ``rows`` are its records, those of an unfinished run included.
    """

    name: str
    folder: Path
    record: dict[str, Any] | None
    rows: list[Row]

    @property
    def known(self) -> dict[str, Any]:
        """Its record; empty where there is none."""
        return self.record or {}

    @property
    def seconds(self) -> float | None:
        """How long it took, where that is known."""
        found = self.known.get("seconds")
        return float(found) if isinstance(found, int | float) else None

    @property
    def kind(self) -> Literal["attack", "audit", "other"]:
        """What the records are of; "attack" for those of ``percert attack`` only."""
        columns = frozenset(self.rows[0]) if self.rows else frozenset()
        if columns >= _ATTACK and "attack" in self.verb:
            return "attack"
        return "audit" if columns >= _AUDIT else "other"

    @property
    def verb(self) -> str:
        """The words of its command before the first option, such as ``attack classify``."""
        command = self.known.get("command") or []
        words = [str(word) for word in command[1:3]]
        return " ".join(word for word in words if word.isidentifier())

    @property
    def settings(self) -> dict[str, Any]:
        """What its results depend on."""
        found = self.known.get("settings")
        return dict(found) if isinstance(found, dict) else {}


def read_folders(folders: Sequence[Path]) -> list[Run]:
    """The runs in ``folders``, in that order.

    They are called after their folders, with as much of the path as tells them apart. Raises
    ``ValueError`` for none, for one that is given twice, and for a folder without records.
    """
    if not folders:
        raise ValueError("runs: expected at least one folder, found none")
    places = [Path(folder).resolve() for folder in folders]
    for place, count in Counter(places).items():
        if count > 1:
            raise ValueError(f"{place}: given {count} times")
    return [
        Run(name, place, read_run(place), _rows(place))
        for name, place in zip(_names(places), places, strict=True)
    ]


def overview(runs: Sequence[Run]) -> Section:
    """What was run, side by side, and the settings in which the runs differ."""
    columns: list[Column[Run]] = [
        Column("run", lambda run: run.name),
        Column(
            "command",
            lambda run: rerun(run.known) or None,
            missing="not known: there is no run.json",
        ),
        Column("made", lambda run: as_text(run.known.get("written"))),
        Column("seconds", lambda run: run.seconds, ".1f"),
        Column("records", lambda run: len(run.rows), ","),
        Column("device", lambda run: as_text(run.known.get("device"))),
        Column("percert", lambda run: as_text((run.known.get("versions") or {}).get("percert"))),
        Column("commit", lambda run: as_text(run.known.get("commit"))[:12]),
    ]
    blocks = [Table.of(runs, columns, "To make a run again, give its command.")]
    if differing := differences(runs):
        setting: Column[tuple[str, tuple[str, ...]]] = Column("setting", lambda one: one[0])
        blocks.append(
            Table.of(
                differing.items(),
                [setting, *(_setting_of(run, place) for place, run in enumerate(runs))],
                "The settings in which the runs differ; in all others they agree.",
            )
        )
    return Section("The runs", tuple(blocks))


def _setting_of(run: Run, place: int) -> Column[tuple[str, tuple[str, ...]]]:
    return Column(run.name, lambda one: one[1][place])


def differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Settings that are not the same in all runs: the value of each run, as text."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    found = {
        name: tuple(as_text(run.settings[name]) if name in run.settings else "" for run in runs)
        for name in names
    }
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _rows(folder: Path) -> list[Row]:
    parts = [folder / RECORDS, *sorted((folder / SHARDS).glob("*.parquet"))]
    parts = [path for path in parts if path.exists()]
    if not parts:
        raise ValueError(
            f"{folder}: no {RECORDS}; expected a folder that percert attack, eval or audit wrote"
        )
    return [row for path in parts for row in read_records(path)]


def _names(places: Sequence[Path]) -> list[str]:
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            break
    return names


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
    table = Table.of(
        keys,
        [
            Column("of", lambda key: key[0]),
            Column("column", lambda key: key[1]),
            *(Column(name, found.get, _cell) for name, found in numbers.items()),
        ],
        "Means, in parentheses medians and the number of values; what is true or false counts as 1 "
        "and 0.",
    )
    return Section(verb or "Records", (table,))


def _cell(entry: ColumnNumbers) -> str:
    return f"{entry.mean:.4g} ({entry.median:.4g}, {entry.count:,})"


def audits_section(runs: Sequence[Run]) -> Section:
    """Runs of ``percert audit groups``: slopes and tests, accuracies by group, and a figure."""
    blocks: list[Block] = [_lines(runs)]
    accuracies = {run.name: _by_group(run) for run in runs}
    groups = sorted({group for found in accuracies.values() for group in found})
    blocks.append(
        Table.of(
            groups,
            [
                Column("group", str),
                *(
                    Column(
                        f"{name}: n, accuracy", found.get, lambda one: f"{one[0]:,}, {one[1]:.4f}"
                    )
                    for name, found in accuracies.items()
                ),
            ],
            "Accuracy of the groups, the mean over a run's models.",
        )
    )
    blocks.append(
        Figure(
            _dots(accuracies, groups),
            "Accuracy of every group, a colour a run.",
            f"Dots of the accuracies of {len(groups)} groups in {len(runs)} runs",
        )
    )
    blocks.append(
        Paragraph(
            "Slopes of different models on the same images share those images: that one is smaller "
            "is tested by comparing sets of models (percert audit groups --against), and not by "
            "looking at two p-values.",
            "warning",
        )
    )
    return Section("Audits of groups", tuple(blocks))


def _lines(runs: Sequence[Run]) -> Table:
    columns: list[Column[tuple[Run, dict[str, Any]]]] = [
        Column("run", lambda row: row[0].name),
        Column("model", lambda row: row[1]["model"]),
        Column("covariance", lambda row: row[1]["covariance"]),
        Column("slope", lambda row: row[1]["slope"], "+.4f"),
        Column("interval", lambda row: row[1]["interval"], "+.4f"),
        Column("F", lambda row: row[1]["f"], ".3f"),
        Column("p", lambda row: row[1]["p_value"], ".4g"),
    ]
    return Table.of(
        [(run, line) for run in runs for line in _found(run)],
        columns,
        "The line through the groups, for every model, attribute and covariance that was asked "
        "for (up to 12 lines a run; the run's own audit.json has all of them).",
    )


def _found(run: Run) -> list[dict[str, Any]]:
    try:
        answer = json.loads((run.folder / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    lines = [line for line in answer.get("models", []) if line.get("f") is not None]
    return lines[:12]


def _by_group(run: Run) -> dict[str, tuple[int, float]]:
    values: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for row in run.rows:
        values.setdefault(str(row["group"]), []).append(float(row["accuracy"]))
        sizes[str(row["group"])] = int(row["n"])
    return {group: (sizes[group], float(np.mean(found))) for group, found in values.items()}


def _dots(accuracies: dict[str, dict[str, tuple[int, float]]], groups: Sequence[str]) -> bytes:
    figure, axis = new_figure(8.0, 1.4 + 0.24 * len(groups))
    place = {group: len(groups) - at for at, group in enumerate(groups)}
    for turn, (name, found) in enumerate(accuracies.items()):
        axis.plot(
            [accuracy for _, accuracy in found.values()],
            [place[group] for group in found],
            "o",
            color=COLOURS[turn % len(COLOURS)],
            alpha=0.8,
            label=name.replace("$", r"\$").lstrip("_"),
        )
    axis.set_yticks(range(len(groups), 0, -1), list(groups), parse_math=False)
    axis.grid(axis="x", color="0.9", lw=0.8)
    axis.set(xlabel="accuracy")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure_png(figure)
