"""An evaluation of metrics by people's answers, from its settings to the files of its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percert.data.triplets import Triplet
from percert.evaluation.people.answers import ObserverAnswers
from percert.evaluation.people.distances import EQUAL, keep_distances, named_metrics
from percert.evaluation.people.report import agreement_table, ceiling_words, write_people_report
from percert.evaluation.people.scores import ALL, CHANGED, score_answers
from percert.evaluation.twoafc.run import TwoAFCSettings, run_twoafc
from percert.images.walk import listed
from percert.reports.table import Table
from percert.runs.engine import Progress, RunFolder, RunResult, silent


@dataclass(frozen=True, kw_only=True)
class PeopleSettings:
    """The settings of an evaluation by people's answers.

    ``source`` is what the ``answers`` are called. ``size`` resizes all images first (height,
    width). Intervals are of ``draws`` draws of pictures. ``eps``, ``attacks``, ``l2`` and ``linf``
    are for triplets: with any of the first two each metric is evaluated as
    :func:`~percert.evaluation.twoafc.run.run_twoafc` does, natural, certified and attacked.
    """

    source: str
    answers: ObserverAnswers
    size: tuple[int, int] | None = None
    batch_size: int = 16
    draws: int = 1000
    seed: int = 0
    device: str = "cpu"
    eps: tuple[float, ...] = ()
    attacks: tuple[str, ...] = ()
    l2: tuple[float, ...] = ()
    linf: tuple[float, ...] = ()
    command: tuple[str, ...] = ()


def run_people(
    asked: PeopleSettings,
    metrics: Mapping[str, str | Path | None],
    out: Path,
    progress: Progress = silent,
) -> RunResult:
    """Evaluate ``metrics``, each with its weights, by people's answers; writes the folder ``out``.

    ``records.parquet`` has every distance; a run that was stopped goes on, and metrics can be
    added. Raises ``ValueError`` where budgets are asked for and the answers are not triplets, where
    no answer can be compared by every metric, and where the folder holds another run.
    """
    triplets = [one for one in asked.answers.judged if isinstance(one, Triplet)]
    proofs = bool(asked.eps or asked.attacks)
    if proofs and not triplets:
        raise ValueError(
            "people: certificates and attacks are of a choice between two images, expected "
            f"triplets, found {asked.answers.kind} pairs"
        )
    settings = {"people": asked.source, "kind": asked.answers.kind}
    settings["size"] = asked.size and list(asked.size)  # type: ignore[assignment]  # for JSON
    folder = RunFolder(
        out, settings, device=asked.device, seed=asked.seed, command=list(asked.command)
    )
    named = named_metrics(metrics, asked.device)
    kept = keep_distances(
        folder,
        asked.answers.pairs,
        named,
        size=asked.size,
        batch_size=asked.batch_size,
        progress=progress,
    )
    wanted = {EQUAL: "", **{one.name: one.weights for one in named}}
    found: dict[str, dict[str, float]] = {name: {} for name in wanted}
    for row in kept.rows:
        if wanted.get(row["metric"]) == row["weights"]:
            found[row["metric"]][row["pair"]] = row["distance"]
    agreements, ceilings = score_answers(
        *(asked.answers, found, list(metrics)), draws=asked.draws, seed=asked.seed, bad=kept.bad
    )
    answer: dict[str, Any] = {
        "source": asked.source,
        "kind": asked.answers.kind,
        "answers": len(asked.answers.judged),
        "agreement": agreements,
        "ceilings": ceilings,
        "weights": {one.name: one.weights for one in named},
        "bad": listed(kept.bad, "name"),
    }
    shown: list[Table | str] = []
    main = CHANGED if any(one.scope == CHANGED for one in agreements) else ALL
    for scope in dict.fromkeys((main, ALL)):
        table = agreement_table([one for one in agreements if one.scope == scope], scope)
        shown += [table.caption, table]
    shown += ceiling_words([one for one in ceilings if one.scope == main])
    if proofs:
        budgets = _twoafc(asked, triplets, metrics, out / "twoafc", progress)
        answer["twoafc"] = budgets.answer
        shown += budgets.shown
    answer = folder.answer("agreement", answer)
    write_people_report(out, asked.answers, found, agreements, ceilings)
    shown.append(f"report.html, agreement.json and records.parquet are in {out}")
    return RunResult(answer, tuple(shown), kept.bad)


def _twoafc(
    asked: PeopleSettings,
    triplets: Sequence[Triplet],
    metrics: Mapping[str, str | Path | None],
    out: Path,
    progress: Progress,
) -> RunResult:
    """The same triplets within budgets (LipSim, Tables 1 and 2), on people's own shares."""
    budgets = TwoAFCSettings(
        source=asked.source,
        triplets=triplets,
        eps=asked.eps,
        attacks=asked.attacks,
        l2=asked.l2,
        linf=asked.linf,
        size=asked.size,
        batch_size=asked.batch_size,
        seed=asked.seed,
        device=asked.device,
        settings={"source": asked.source},
        command=asked.command,
    )
    return run_twoafc(budgets, metrics, out, progress)
