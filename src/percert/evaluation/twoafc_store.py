"""Keep the rows of an evaluation while it goes on: after a kill it goes on where it stood."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from percert.attacks.collection import open_output
from percert.evaluation.twoafc import Evaluated
from percert.reports import read_run, write_run
from percert.reports.records import Columns

#: What evaluates all but what is done, (image, attack).
Steps = Callable[[frozenset[tuple[str, str]]], Iterator[Evaluated]]


def keep_rows(
    out: Path,
    columns: Columns,
    steps: Steps,
    *,
    settings: Mapping[str, Any],
    command: list[str],
    device: str,
    seed: int,
    progress: Callable[[Evaluated], None] = lambda _: None,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Write what ``steps`` yields to ``records.parquet`` and ``run.json`` in the folder ``out``.

    Returns all rows, those of earlier runs of the same ``settings`` included, and (name, reason) of
    what could not be read. Raises ``ValueError`` where the folder holds a run with others.
    """
    store = open_output(out, columns, settings)
    before = float((read_run(out) or {}).get("seconds") or 0.0)
    began = time.perf_counter()
    bad: list[tuple[str, str]] = []

    def note(finished: bool) -> None:
        write_run(
            out,
            command=command,
            settings=settings,
            seed=seed,
            device=device,
            seconds=before + time.perf_counter() - began,
            finished=finished,
            bad=[{"name": name, "reason": reason} for name, reason in bad],
        )

    note(finished=False)
    finished = False
    try:
        for step in steps(frozenset((row["image"], row["attack"]) for row in store.rows())):
            store.append(step.rows)
            if step.bad is not None:
                bad.append((step.bad, step.reason))
            progress(step)
        finished = True
    finally:
        rows = store.merge()
        note(finished=finished)
    return rows, bad
