"""The page that a run of ``percert attack`` ends in: ``report.html`` beside its records."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from percert.evaluation.attack_evaluation import AttackEvaluation, evaluate_attacks
from percert.evaluation.attack_pictures import attacked_pictures
from percert.evaluation.attack_report import distances_table, medians_table, rounding_notes
from percert.evaluation.attack_runs import AttackRuns, read_attack_runs
from percert.evaluation.attack_tables import EFFORT
from percert.evaluation.attack_words import number, percent, title
from percert.reports import read_run
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Block, Figure, Paragraph, Section, Table, write_page
from percert.reports.records import column
from percert.reports.report_how import how_made

#: So many images are shown.
PICTURES = 2


def write_attack_report(folder: Path, *, pictures: int = PICTURES) -> Path:
    """Write ``report.html`` of the run in ``folder``, whole or not at all, and return its path.

    Tables of success, distances and time, one figure, ``pictures`` of the images, and how it was
    made. It needs the records and ``run.json`` only; pictures also the originals and the attacked
    files, and are left out where these are gone. Raises ``ValueError`` for a folder without
    records.
    """
    runs = read_attack_runs([folder])
    record = read_run(folder)
    if any(row["attacked"] for row in runs.rows):
        evaluation = evaluate_attacks(runs, runs.rows, runs.own_distances)
        sections = [_numbers(evaluation), _figure(evaluation), *_pictures(runs, pictures)]
        lead = _lead(evaluation)
    else:
        sections, lead = [], f"Of {len(runs.rows)} images and attacks none was tried."
    sections.append(how_made(record))
    path = folder / "report.html"
    write_page(path, f"Attacks on {_source(runs)}", sections, lead=lead)
    return path


def _source(runs: AttackRuns) -> str:
    return " and ".join(dict.fromkeys(str(row["source"]) for row in runs.rows)) or "images"


def _lead(evaluation: AttackEvaluation) -> str:
    said = [
        f"{entry.attack}: {percent(entry.success_8bit)} of {entry.attacked}"
        for entry in evaluation.own
    ]
    return f"Success as files of 8 bits: {'; '.join(said)}."


def _numbers(evaluation: AttackEvaluation) -> Section:
    effort = Table(
        (
            ("attack", "left"),
            ("total s", "right"),
            ("s an image", "right"),
            ("CPU s an image", "right"),
            ("model calls an image", "right"),
        ),
        tuple(
            (entry.attack, number(entry.seconds), *(number(entry.effort[n]) for n in EFFORT))
            for entry in evaluation.own
        ),
        "What the attacks cost, without reading, judging and writing.",
    )
    return Section(
        "Success, distances and time",
        (
            distances_table(
                evaluation.own,
                evaluation.distances,
                "Success is the share of the images that were right before, as the attack returned "
                "them and after rounding to 8 bits. Distances are means over an attack's own "
                "successes; the closest of a column is marked *.",
            ),
            *rounding_notes(evaluation.own),
            medians_table(evaluation.own, evaluation.distances),
            effort,
            Paragraph(
                "Attacks that fail on hard images look better here than they are: percert eval "
                "attacks compares them on the images that all of them succeed on.",
                "note",
            ),
        ),
    )


def _figure(evaluation: AttackEvaluation) -> Section:
    """The distribution of the run's own perceptual distance, or else of l2."""
    names = [name for name in evaluation.distances if name not in ("l1", "l2", "linf")]
    name = names[0] if names else "l2"
    samples = {
        entry.attack: np.array(column(_measured(evaluation, entry.attack), name), dtype=np.float64)
        for entry in evaluation.own
    }
    if not any(map(len, samples.values())):
        nothing = Paragraph("No attack succeeded, so there is no distance to draw.", "note")
        return Section("Distribution", (nothing,))
    counts = {entry.attack: entry.attacked for entry in evaluation.own}
    figure = Figure(
        boxes_and_cumulative(samples, counts, value_label=title(name)),
        f"{title(name)} of the attacked images from their originals. Left: quartiles and median, "
        "whiskers from the 5th to the 95th percentile. Right: the share of all images attacked "
        "that succeed within a distance.",
        f"Boxes and cumulative distributions of {title(name)}",
    )
    return Section("Distribution", (figure,))


def _measured(evaluation: AttackEvaluation, attack: str) -> list[dict[str, object]]:
    return [
        dict(row)
        for row in evaluation.rows
        if row["attack"] == attack and row["attacked"] and row[evaluation.over]
    ]


def _pictures(runs: AttackRuns, count: int) -> Sequence[Section]:
    there = any(row["path"] is not None and Path(row["path"]).exists() for row in runs.rows)
    if not (count and there and runs.images is not None and runs.images.exists()):
        return []
    if runs.goal == "triplet":  # its images are named by triplets, not by files
        return []
    kept = [row for row in runs.rows if row["path"] is None or Path(row["path"]).exists()]
    shown: list[Block] = [*attacked_pictures(kept, runs.images, count)]
    if not shown:
        return []
    words = "Above, the images as the files hold them; below, what was changed, around grey."
    return [Section("Pictures", (Paragraph(words), *shown))]
