"""A 2AFC evaluation of one metric or several, from its settings to the files of its folders."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from percert.certify.twoafc import PerturbedTriplet
from percert.check import Argument, ArgumentError
from percert.data.triplets import Triplet
from percert.evaluation.twoafc.attacks import AttackBudget, PlannedAttack, plan_attacks
from percert.evaluation.twoafc.evaluate import TwoAFCRun, keep_twoafc
from percert.evaluation.twoafc.lipschitz_violations import (
    OF_TRIPLETS,
    count_violations,
    moved_references,
    proposition_section,
)
from percert.evaluation.twoafc.report import (
    attacked_table,
    compared_tables,
    effort_table,
    folder_of,
    groups_table,
    natural_table,
    score_figure,
)
from percert.evaluation.twoafc.scores import TwoAFCScores, complete_rows, score_twoafc
from percert.images.walk import listed
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric, metric_card
from percert.reports.page import Figure, Paragraph, Section, how_made, write_page
from percert.reports.records import Row, read_run
from percert.reports.table import Table
from percert.runs.engine import Progress, RunFolder, RunResult, silent, write_answer


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoAFCSettings:
    """The settings of a 2AFC evaluation, the same for every metric.

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
    """One metric's scores, all that JSON says, and (name, reason) of triplets not read."""

    scores: list[TwoAFCScores]
    answer: dict[str, Any]
    bad: list[tuple[str, str]]


def run_twoafc(
    asked: TwoAFCSettings,
    metrics: Mapping[str, str | Path | None],
    out: Path,
    progress: Progress = silent,
) -> RunResult:
    """Evaluate ``metrics``, each with its weights, and write a folder of each and a page of all.

    Of several metrics each has a folder of its own in ``out``; a single one has ``out`` itself.
    Raises as :func:`evaluate_metric` does, before anything is evaluated where an attack does not do
    for a metric.
    """
    for name in metrics:
        asked.plan(name)
    folders = [out] if len(metrics) == 1 else [out / folder_of(name) for name in metrics]
    if len(set(folders)) < len(folders):
        raise ArgumentError(
            Argument("metric"), f": {' and '.join(metrics)} would share a folder in {out}"
        )
    found = {
        name: evaluate_metric(asked, name, weights, folder, progress)
        for (name, weights), folder in zip(metrics.items(), folders, strict=True)
    }
    scores = {name: one.scores for name, one in found.items()}
    (first, *others) = found.values()
    answer = {
        "out": str(out),
        "source": asked.source,
        "perturbed": asked.perturbed,
        "metrics": [one.answer for one in found.values()],
    }
    shown: list[Table | str] = []
    if others:
        write_answer(out, "scores", answer)
        tables = compared_tables(scores)
        write_page(
            out / "report.html",
            f"2AFC: {', '.join(scores)}",
            [Section("Side by side", tuple(tables))],
            lead=f"{first.scores[0].triplets} triplets of {asked.source}; what moves: "
            f"{asked.perturbed}. Each metric's own report is in the folder that bears its name.",
        )
        for table in tables:
            shown += [table.caption, table]
    else:
        of_all = first.scores
        own = (natural_table(of_all), attacked_table(of_all), groups_table(of_all))
        shown += [table for table in own if table is not None]
    shown.append(f"report.html, scores.json and records.parquet are in {out}")
    return RunResult(answer, tuple(shown), first.bad)  # the same for every metric


def evaluate_metric(
    asked: TwoAFCSettings,
    name: str,
    checkpoint: str | Path | None,
    out: Path,
    progress: Progress = silent,
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
        "weights_sha256": weights_hash(metric),
        "perturbed": asked.perturbed,
        "size": asked.size and list(asked.size),
        "seed": asked.seed,
    }
    folder = RunFolder(out, settings, device=asked.device, seed=asked.seed, command=asked.command)
    kept = keep_twoafc(folder, run, asked.triplets, progress)
    rows = complete_rows(kept.rows, (triplet.name for triplet in asked.triplets))
    if not rows:
        why = "; ".join(reason for _, reason in kept.bad[:1])
        raise ValueError(f"{asked.source}: no triplet could be read; {why}")
    budgets = [AttackBudget("l2", value) for value in asked.l2]
    budgets += [AttackBudget("linf", value) for value in asked.linf]
    scores = score_twoafc(rows, asked.eps, budgets=budgets, perturbed=asked.perturbed)
    moved = moved_references(rows, name, asked.perturbed)
    answer = {
        "source": asked.source,
        "metric": name,
        "perturbed": asked.perturbed,
        "checked": "certified <= empirical <= natural for every triplet",
        "scores": [asdict(entry) for entry in scores],
        "violations": [asdict(entry) for entry in count_violations(moved)],
        "bad": listed(kept.bad, "name"),
    }
    answer = folder.answer("scores", answer)
    section = proposition_section(moved, OF_TRIPLETS)
    write_twoafc_report(out, scores, rows, answer, [section] if section else [])
    return TwoAFCResult(scores, answer, kept.bad)


def write_twoafc_report(
    out: Path,
    scores: Sequence[TwoAFCScores],
    rows: Sequence[Row],
    answer: Mapping[str, Any],
    other: Sequence[Section] = (),
) -> None:
    """Write ``report.html`` into ``out``, whole or not at all.

    ``other`` sections come before that of how it was made.
    """
    moves = {
        "reference": "the reference alone moves, as in the paper",
        "candidates": "both candidates move, each within the budget",
        "all": "all three images move, each within the budget",
    }[answer["perturbed"]]
    proven = scores[0].radius_median is not None
    blocks: list[Paragraph | Table | Figure] = [natural_table(scores)]
    if proven:
        blocks.append(
            Paragraph(
                "For every triplet, certified <= empirical <= natural was checked, at every budget "
                "and with both radii.",
                "note",
            )
        )
    figure = Figure(
        score_figure(scores[0], rows, answer["perturbed"]),
        "All triplets, against the l2 budget. A curve falls where a triplet is no longer "
        "certified, or where an attack first turned it round; rings are single attacks.",
        "Curves of certified scores below those under attack, below the natural score.",
    )
    sections = [Section("Scores", (*blocks, figure))]
    under_attack = attacked_table(scores)
    if under_attack is not None:
        by_group = groups_table(scores)
        tables = [under_attack, *([by_group] if by_group else []), effort_table(rows)]
        sections.append(Section("Under attack", tuple(tables)))
    sections += other
    sections.append(how_made(read_run(out)))
    size = {(row["height"], row["width"]) for row in rows}
    sizes = " and ".join(f"{h} x {w}" for h, w in sorted(size)[:3])
    more = f" and {len(size) - 3} more sizes" if len(size) > 3 else ""
    write_page(
        out / "report.html",
        f"2AFC: {answer['metric']}",
        sections,
        lead=f"{scores[0].triplets} triplets of {answer['source']}, images of {sizes}{more}; "
        f"{moves}. Budgets are lengths in these pixels, values in [0, 1].",
    )
