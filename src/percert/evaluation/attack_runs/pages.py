"""The report page of an attack run, galleries of its pictures, and runs joined side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from percert.evaluation.attack_runs.compare import AttackEvaluation, evaluate_attacks, title
from percert.evaluation.attack_runs.distances import Row
from percert.evaluation.attack_runs.read import AttackRuns, read_attack_runs
from percert.evaluation.attack_runs.report import (
    ATTACK,
    EFFORTS,
    attack_sections,
    distances_table,
    medians_table,
    rounding_notes,
    samples_of,
)
from percert.images import load_image
from percert.metrics.full_reference.seen import noticed_map
from percert.metrics.full_reference.visibility import SMALLEST_SIDE
from percert.metrics.seen_study import NOTICED_WORDS, OBSERVERS, OBSERVERS_LIMITS, observers_words
from percert.reports import read_run
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import (
    Block,
    Figure,
    Paragraph,
    Section,
    how_made,
    kept_figure,
    write_page,
)
from percert.reports.plots import Cell, Picture, amplified, picture_grid
from percert.reports.run_comparison import (
    Run,
    audits_section,
    column_numbers,
    columns_section,
    overview,
    read_folders,
)
from percert.reports.table import Table, number, percent
from percert.runs import find_items, read_sample


def choose_images(rows: Sequence[Row], count: int) -> list[str]:
    """The images on which most attacks have something to show, the first ones of those.

    >>> rows = [{"image": i, "attacked": True, "success_8bit": s, "path": "x"}
    ...         for i, s in (("a", False), ("b", True), ("c", True))]
    >>> choose_images(rows, 1)
    ['b']
    """
    shown: dict[str, int] = {}
    for row in rows:
        there = row["attacked"] and row["success_8bit"] and row["path"] is not None
        shown[row["image"]] = shown.get(row["image"], 0) + bool(there)
    ordered = sorted(shown, key=lambda image: -shown[image])  # a stable sort: the first come first
    return [image for image in ordered if shown[image]][:count]


def attacked_pictures(
    rows: Sequence[Row],
    originals: Path,
    count: int,
    *,
    distance: str = "ssim",
    folder: Path | None = None,
) -> list[Figure]:
    """``count`` images, each with what every attack made of it and the change, amplified.

    With ``folder`` they are written there as well, as ``pictures-1.png`` and so on.
    """
    chosen = choose_images(rows, count)
    items = {item.name: item for item in find_items(originals)} if chosen else {}
    figures = []
    for place, image in enumerate(chosen):
        if image not in items:
            raise ValueError(f"{originals}: has no image {image!r}")
        original = as_picture(read_sample(items[image]).image)
        some = successes(rows, image)
        attacked = {str(row["attack"]): as_picture(load_image(row["path"])) for row in some}
        changes, factor = amplified([one - original for one in attacked.values()])
        grey = np.full_like(original, 0.5)
        black = np.zeros(original.shape[:2], original.dtype)
        maps = [where_noticed(original, one) for one in attacked.values()]
        cells = [Cell("original", (original, grey, black))]
        for row, change, where in zip(some, changes, maps, strict=True):
            value = row.get(distance)
            note = "" if value is None else f"\n{title(distance)} {number(value)}"
            cells.append(Cell(f"{row['attack']}{note}", (attacked[row["attack"]], change, where)))
        png = picture_grid(cells)
        figures.append(
            kept_figure(
                folder,
                f"pictures-{place + 1}.png",
                png,
                f"{image}, changes times {factor:.3g}. {NOTICED_WORDS}",
                f"{image} and {len(some)} attacked versions of it, with the changes amplified and "
                "maps of where they would be noticed",
            )
        )
    return figures


def successes(rows: Sequence[Row], image: str) -> list[Row]:
    """The rows of ``image`` whose attacked file succeeded and is there."""
    return [
        row
        for row in rows
        if row["image"] == image
        and row["attacked"]
        and row["success_8bit"]
        and row["path"] is not None
    ]


def as_picture(image: Tensor) -> Picture:
    """``(3, h, w)`` in [0, 1] as ``(h, w, 3)``."""
    return image.permute(1, 2, 0).float().cpu().numpy()


def where_noticed(original: Picture, attacked: Picture) -> Picture:
    """Where a change would be noticed, ``(h, w)`` in [0, 1]; all 0 in pictures too small to say."""
    if min(original.shape[:2]) < SMALLEST_SIDE:
        return np.zeros(original.shape[:2], original.dtype)
    pair = [torch.from_numpy(one).permute(2, 0, 1)[None] for one in (original, attacked)]
    found: Picture = noticed_map(*pair)[0, 0].numpy()
    return found


def conditions(runs: Sequence[Path], records: Sequence[Mapping[str, object] | None]) -> str:
    """One line a run: what was attacked, with what seed and version, and whether it is finished."""
    lines = []
    for folder, record in zip(runs, records, strict=True):
        if record is None:
            lines.append(f"{folder}: no run.json")
            continue
        settings = record.get("settings")
        model = settings.get("model", "") if isinstance(settings, Mapping) else ""
        finished = "finished" if record.get("finished") else "not finished"
        lines.append(
            f"{folder}: {model}, seed {record.get('seed')}, on {record.get('device')}, commit "
            f"{record.get('commit')}, {finished}"
        )
    return "\n".join(lines)


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
    caption = "What the attacks cost, without reading, judging and writing."
    effort = Table.of(evaluation.own, [ATTACK, *EFFORTS], caption)
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
            *_observers(evaluation),
            medians_table(evaluation.own, evaluation.distances),
            effort,
            Paragraph(
                "Attacks that fail on hard images look better here than they are: percert eval "
                "attacks compares them on the images that all of them succeed on.",
                "note",
            ),
        ),
    )


def _observers(evaluation: AttackEvaluation) -> list[Paragraph]:
    """How many people would notice what each attack made, on average."""
    if OBSERVERS not in evaluation.distances:
        return []
    means = [(entry.attack, entry.mean(OBSERVERS)) for entry in evaluation.own]
    said = [f"{attack}: {observers_words(mean)}" for attack, mean in means if mean is not None]
    return [Paragraph(f"{'; '.join(said)}. {OBSERVERS_LIMITS}")] if said else []


def _figure(evaluation: AttackEvaluation) -> Section:
    """The distribution of the run's own perceptual distance, or else of l2."""
    names = [name for name in evaluation.distances if name not in ("l1", "l2", "linf")]
    name = names[0] if names else "l2"
    samples = samples_of(evaluation.own, evaluation.rows, name, evaluation.over)
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
    words = (
        "Above, the images as the files hold them; below, what was changed, around grey, and where "
        "people would notice it."
    )
    return [Section("Pictures", (Paragraph(words), *shown))]


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
