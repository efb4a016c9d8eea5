"""Folders that runs of percert left behind, read to be put side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from percert.reports.page import Section, Table
from percert.reports.records import SHARDS, Row, read_records
from percert.reports.report_how import as_text, rerun
from percert.reports.run_record import read_run

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
    def kind(self) -> Literal["attack", "audit", "other"]:
        """What the records are of; "attack" for those of ``percert attack`` only."""
        columns = frozenset(self.rows[0]) if self.rows else frozenset()
        if columns >= _ATTACK and "attack" in self.verb:
            return "attack"
        return "audit" if columns >= _AUDIT else "other"

    @property
    def verb(self) -> str:
        """The words of its command before the first option, such as ``attack classify``."""
        command = (self.record or {}).get("command") or []
        words = [str(word) for word in command[1:3]]
        return " ".join(word for word in words if word.isidentifier())

    @property
    def settings(self) -> dict[str, Any]:
        """What its results depend on."""
        found = (self.record or {}).get("settings")
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
    blocks: list[Table] = [
        Table(
            (
                ("run", "left"),
                ("command", "left"),
                ("made", "left"),
                ("seconds", "right"),
                ("records", "right"),
                ("device", "left"),
                ("percert", "left"),
                ("commit", "left"),
            ),
            tuple(
                (
                    run.name,
                    rerun(run.record or {}) or "not known: there is no run.json",
                    as_text((run.record or {}).get("written")),
                    _seconds(run),
                    f"{len(run.rows):,}",
                    as_text((run.record or {}).get("device")),
                    as_text(((run.record or {}).get("versions") or {}).get("percert")),
                    as_text((run.record or {}).get("commit"))[:12],
                )
                for run in runs
            ),
            "To make a run again, give its command.",
        )
    ]
    differing = differences(runs)
    if differing:
        blocks.append(
            Table(
                (("setting", "left"), *((run.name, "left") for run in runs)),
                tuple((name, *values) for name, values in differing.items()),
                "The settings in which the runs differ; in all others they agree.",
            )
        )
    return Section("The runs", tuple(blocks))


def differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Settings that are not the same in all runs: the value of each run, as text."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    found = {
        name: tuple(as_text(run.settings[name]) if name in run.settings else "" for run in runs)
        for name in names
    }
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _seconds(run: Run) -> str:
    seconds = (run.record or {}).get("seconds")
    return f"{seconds:.1f}" if isinstance(seconds, int | float) else "-"


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
