"""Several runs in one report, side by side: ``percert report``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from percert.evaluation.attack_evaluation import AttackEvaluation, evaluate_attacks
from percert.evaluation.attack_report import attack_sections
from percert.evaluation.attack_runs import read_attack_runs
from percert.reports.page import Paragraph, Section
from percert.reports.report_audits import audits_section
from percert.reports.report_columns import column_numbers, columns_section
from percert.reports.report_runs import Run, overview, read_folders


@dataclass(frozen=True)
class JoinedRuns:
    """Runs and what is said of them. ``answer`` is the same as the sections, as plain values."""

    runs: tuple[Run, ...]
    sections: tuple[Section, ...]
    answer: dict[str, Any]


def join_runs(folders: Sequence[Path]) -> JoinedRuns:
    """Put the runs in ``folders`` side by side.

    Attacks on the same kind of thing are compared as ``percert eval attacks`` does, audits by their
    lines and groups, anything else by its columns of numbers. Raises ``ValueError`` for a folder
    that holds no run.
    """
    runs = read_folders(folders)
    sections = [overview(runs)]
    answer: dict[str, Any] = {
        "runs": [
            {
                "name": run.name,
                "folder": str(run.folder),
                "kind": run.kind,
                "verb": run.verb,
                "records": len(run.rows),
            }
            for run in runs
        ]
    }
    attacks = [run for run in runs if run.kind == "attack"]
    by_goal: dict[str, list[Run]] = {}
    for run in attacks:
        by_goal.setdefault(str(run.settings.get("goal", "classifier")), []).append(run)
    for goal, some in by_goal.items():
        evaluation = _attacks(some)
        if evaluation is None:
            nothing = Paragraph("Nothing was attacked.", "note")
            sections.append(Section(f"Attacks ({goal})", (nothing,)))
            continue
        answer.setdefault("attacks", {})[goal] = evaluation.answer()
        sections += [
            Section(
                f"{section.title} ({goal})" if len(by_goal) > 1 else section.title, section.blocks
            )
            for section in attack_sections(evaluation)
        ]
    audits = [run for run in runs if run.kind == "audit"]
    if audits:
        sections.append(audits_section(audits))
    by_verb: dict[str, list[Run]] = {}
    for run in runs:
        if run.kind == "other":
            by_verb.setdefault(run.verb, []).append(run)
    sections += [columns_section(verb, some) for verb, some in by_verb.items()]
    others = {run.name: run for some in by_verb.values() for run in some} | {
        run.name: run for run in audits
    }
    if others:
        answer["columns"] = {
            name: [asdict(entry) for entry in column_numbers(run.rows)]
            for name, run in others.items()
        }
    return JoinedRuns(tuple(runs), tuple(sections), answer)


def _attacks(runs: Sequence[Run]) -> AttackEvaluation | None:
    found = read_attack_runs([run.folder for run in runs])
    if not any(row["attacked"] for row in found.rows):
        return None
    return evaluate_attacks(found, found.rows, found.own_distances)
