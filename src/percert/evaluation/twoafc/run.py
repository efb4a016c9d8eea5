"""A 2AFC evaluation of one metric, from its settings to the files of its folder.

A 2AFC evaluation of one metric, from what is asked for to the files of its folder.

Keep the rows of an evaluation while it goes on: after a kill it goes on where it stood.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from percert.certify.twoafc import PerturbedTriplet
from percert.data.triplets import Triplet
from percert.evaluation.lipschitz_violations import (
    count_violations,
    moved_references,
    proposition_section,
)
from percert.evaluation.twoafc.attacks import Budget, PlannedAttack, plan_attacks
from percert.evaluation.twoafc.evaluate import COLUMNS, Evaluated, TwoAFCRun, evaluate_twoafc
from percert.evaluation.twoafc.report import write_twoafc_report
from percert.evaluation.twoafc.scores import TwoAFCScores, complete_rows, score_twoafc
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric, metric_card
from percert.reports import read_run, write_run
from percert.reports.records import Columns
from percert.runs import open_output

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


@dataclass(frozen=True, eq=False)
class TwoAFCSettings:
    """What is evaluated, and how: the same for every metric.

    ``attacks`` are as :func:`~percert.evaluation.twoafc.attacks.plan_attacks` takes them, ``l2``
    and ``linf`` their budgets, ``eps`` those that are certified. ``source`` is what the triplets
    are called, ``settings`` what else their rows depend on.
    """

    source: str
    triplets: Sequence[Triplet]
    eps: tuple[float, ...]
    attacks: tuple[str, ...] = ()
    l2: tuple[float, ...] = ()
    linf: tuple[float, ...] = ()
    perturbed: PerturbedTriplet = "reference"
    size: tuple[int, int] | None = None
    batch_size: int = 16
    seed: int = 0
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def plan(self, metric: str) -> dict[str, PlannedAttack]:
        """The attacks on ``metric``. Raises ``ValueError`` where one does not do for it."""
        return plan_attacks(
            self.attacks,
            l2=self.l2,
            linf=self.linf,
            perturbed=self.perturbed,
            differentiable=metric_card(metric).differentiable,
        )


@dataclass(frozen=True, eq=False)
class TwoAFCResult:
    """What came of it: scores, all that JSON says, and (name, reason) of what was not read."""

    scores: list[TwoAFCScores]
    answer: dict[str, Any]
    bad: list[tuple[str, str]]


def evaluate_metric(
    asked: TwoAFCSettings,
    name: str,
    checkpoint: str | Path | None,
    out: Path,
    progress: Callable[[Evaluated], None] = lambda _: None,
) -> TwoAFCResult:
    """Evaluate the metric ``name``, and write ``out``: records, scores, report and ``run.json``.

    Goes on where an earlier run of the same stood. Raises ``ValueError`` where no triplet could be
    read or the folder holds another run, and ``BrokenCertificate`` where certified <= empirical <=
    natural does not hold for some triplet.
    """
    metric = create_metric(name, checkpoint=checkpoint, device=asked.device)
    run = TwoAFCRun(
        metric=metric,
        attacks=asked.plan(name),
        perturbed=asked.perturbed,
        size=asked.size,
        batch_size=asked.batch_size,
        seed=asked.seed,
        device=asked.device,
    )
    # The list of attacks may grow from run to run: what is there stays as it is.
    settings = {
        **asked.settings,
        "metric": name,
        "weights_sha256": weights_hash(metric),  # type: ignore[arg-type]  # metrics of the catalog are modules
        "perturbed": asked.perturbed,
        "size": asked.size and list(asked.size),
        "seed": asked.seed,
    }
    kept, bad = keep_rows(
        out,
        COLUMNS,
        lambda done: evaluate_twoafc(run, asked.triplets, done),
        settings=settings,
        command=list(asked.command),
        device=asked.device,
        seed=asked.seed,
        progress=progress,
    )
    rows = complete_rows(kept, (triplet.name for triplet in asked.triplets))
    if not rows:
        why = "; ".join(reason for _, reason in bad[:1])
        raise ValueError(f"{asked.source}: no triplet could be read; {why}")
    budgets = [Budget("l2", value) for value in asked.l2]
    budgets += [Budget("linf", value) for value in asked.linf]
    scores = score_twoafc(rows, asked.eps, budgets=budgets, perturbed=asked.perturbed)
    moved = moved_references(rows, name, asked.perturbed)
    answer = {
        "out": str(out),
        "source": asked.source,
        "metric": name,
        "perturbed": asked.perturbed,
        "checked": "certified <= empirical <= natural for every triplet",
        "scores": [asdict(entry) for entry in scores],
        "violations": [asdict(entry) for entry in count_violations(moved)],
        "bad": [{"name": name, "reason": reason} for name, reason in bad],
    }
    section = proposition_section(moved)
    write_twoafc_report(out, scores, rows, answer, settings, [section] if section else [])
    return TwoAFCResult(scores, answer, bad)
