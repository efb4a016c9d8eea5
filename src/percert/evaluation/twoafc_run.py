"""A 2AFC evaluation of one metric, from what is asked for to the files of its folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from percert.certify.twoafc import PerturbedTriplet
from percert.data.triplet import Triplet
from percert.evaluation.proposition import count_violations, moved_references, proposition_section
from percert.evaluation.twoafc import COLUMNS, Evaluated, TwoAFCRun, evaluate_twoafc
from percert.evaluation.twoafc_attacks import Budget, PlannedAttack, plan_attacks
from percert.evaluation.twoafc_report import write_twoafc_report
from percert.evaluation.twoafc_scores import TwoAFCScores, complete_rows, score_twoafc
from percert.evaluation.twoafc_store import keep_rows
from percert.lipschitz.weights_hash import weights_hash
from percert.metrics.catalog import create_metric, metric_card


@dataclass(frozen=True, eq=False)
class AskedTwoAFC:
    """What is evaluated, and how: the same for every metric.

    ``attacks`` are as :func:`~percert.evaluation.twoafc_attacks.plan_attacks` takes them, ``l2``
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
class AnsweredTwoAFC:
    """What came of it: scores, all that JSON says, and (name, reason) of what was not read."""

    scores: list[TwoAFCScores]
    answer: dict[str, Any]
    bad: list[tuple[str, str]]


def evaluate_metric(
    asked: AskedTwoAFC,
    name: str,
    checkpoint: str | Path | None,
    out: Path,
    progress: Callable[[Evaluated], None] = lambda _: None,
) -> AnsweredTwoAFC:
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
    return AnsweredTwoAFC(scores, answer, bad)
