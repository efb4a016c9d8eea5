"""The report of ``percert eval attacks``: the paper's tables and figures, of one's own runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from percert.evaluation.attack_runs.compare import (
    EFFORT,
    AttackEvaluation,
    AttackNumbers,
    number,
    percent,
    scaled_column,
    title,
)
from percert.evaluation.attack_runs.read import Ablation
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Block, Figure, Paragraph, Section, Table, kept_figure
from percert.reports.records import column
from percert.reports.table import Column


def attack_sections(
    evaluation: AttackEvaluation, pictures: Sequence[Figure] = (), folder: Path | None = None
) -> list[Section]:
    """The report's sections. With ``folder`` the figures of distances are written there as well."""
    sections = [_success(evaluation), _together(evaluation)]
    if evaluation.baseline is not None and len(evaluation.own) > 1:
        sections.append(_ratios(evaluation))
    sections.append(_effort(evaluation))
    if evaluation.ablations:
        sections.append(_ablations(evaluation))
    sections.append(_distributions(evaluation, folder))
    if pictures:
        sections.append(
            Section(
                "Pictures",
                (
                    Paragraph(
                        "Above, the images as the files hold them; below, what was changed, around "
                        "grey, multiplied by the same factor for all attacks on an image."
                    ),
                    *pictures,
                ),
            )
        )
    return sections


def distances_table(
    entries: Sequence[AttackNumbers], distances: Sequence[str], caption: str
) -> Table:
    """The paper's Table 1: success and mean distances, the least of each column marked."""
    columns = [scaled_column(name, [entry.mean(name) for entry in entries]) for name in distances]
    return Table(
        (
            ("attack", "left"),
            ("images", "right"),
            ("success", "right"),
            ("8-bit success", "right"),
            *((heading, "right") for heading, _ in columns),
        ),
        tuple(
            (
                entry.attack,
                str(entry.attacked),
                percent(entry.success),
                percent(entry.success_8bit),
                *(cells[place] for _, cells in columns),
            )
            for place, entry in enumerate(entries)
        ),
        caption,
    )


def _success(evaluation: AttackEvaluation) -> Section:
    moved = "attacked images" if evaluation.over == "attacked" else "images that succeed as files"
    return Section(
        "Success and distances",
        (
            distances_table(
                evaluation.own,
                evaluation.distances,
                "Success is the share of the images that were right before, as the attack returned "
                "them and after rounding to 8 bits. Distances are means over each attack's own "
                f"{moved}; the closest of a column is marked *.",
            ),
            *rounding_notes(evaluation.own),
            medians_table(evaluation.own, evaluation.distances),
        ),
    )


def rounding_notes(entries: Sequence[AttackNumbers]) -> list[Paragraph]:
    """What rounding to 8 bits cost which attack, where it cost anything."""
    said = [entry.rounding for entry in entries if entry.rounding is not None]
    return [Paragraph(f"{'. '.join(said)}.", "note")] if said else []


def medians_table(entries: Sequence[AttackNumbers], distances: Sequence[str]) -> Table:
    """The median of every distance, and its quartiles."""
    rows = []
    for entry in entries:
        cells = []
        for name in distances:
            spread = entry.distances[name]
            cells.append(
                "-"
                if spread is None
                else f"{number(spread.median)} ({number(spread.lower)} to {number(spread.upper)})"
            )
        rows.append((entry.attack, *cells))
    return Table(
        (("attack", "left"), *((title(name), "right") for name in distances)),
        tuple(rows),
        "Medians, and in parentheses the first and third quartile, of the same images.",
    )


def _together(evaluation: AttackEvaluation) -> Section:
    heading = "On the same images"
    if not evaluation.shared_on:
        return Section(
            heading, (Paragraph("There is no image on which every attack succeeded.", "warning"),)
        )
    return Section(
        heading,
        (
            distances_table(
                evaluation.shared,
                evaluation.distances,
                f"Means over the {len(evaluation.shared_on)} images on which every attack "
                "succeeded. An attack that fails on hard images looks better above than it is; "
                "here it cannot.",
            ),
            medians_table(evaluation.shared, evaluation.distances),
        ),
    )


def _ratios(evaluation: AttackEvaluation) -> Section:
    names = (*evaluation.distances, *EFFORT)
    rows = []
    for attack, ratios in evaluation.ratios.items():
        if attack == evaluation.baseline:
            continue
        cells = ["-" if ratios[n] is None else f"{ratios[n]:.2f}" for n in names]
        rows.append((attack, f"{ratios['images']:.0f}", *cells))
    headings = [title(name) for name in evaluation.distances] + ["seconds", "CPU s", "calls"]
    return Section(
        f"Beside {evaluation.baseline}",
        (
            Table(
                (("attack", "left"), ("images", "right"), *((h, "right") for h in headings)),
                tuple(rows),
                f"Mean over the mean of {evaluation.baseline}: of distances on the images on which "
                "both succeeded, of time and model calls on those on which both were tried. Below "
                "1 is better.",
            ),
        ),
    )


def _effort(evaluation: AttackEvaluation) -> Section:
    return Section(
        "Time",
        (
            Table(
                (
                    ("attack", "left"),
                    ("images", "right"),
                    ("total s", "right"),
                    ("s an image", "right"),
                    ("CPU s an image", "right"),
                    ("model calls an image", "right"),
                ),
                tuple(
                    (
                        entry.attack,
                        str(entry.attacked),
                        number(entry.seconds),
                        *(number(entry.effort[name]) for name in EFFORT),
                    )
                    for entry in evaluation.own
                ),
                "Wall-clock time of the attacks alone, without reading, judging and writing. Runs "
                "compare where they were made on one machine with nothing else on it; CPU seconds "
                "and model calls always do.",
            ),
        ),
    )


def _ablations(evaluation: AttackEvaluation) -> Section:
    entries = {entry.attack: entry for entry in evaluation.own}
    tables = []
    for ablation in evaluation.ablations:
        attacks = [(v, entries[a]) for v, a in ablation.attacks if a in entries]
        if len(attacks) > 1:
            tables.append(_ablation_table(ablation, attacks, evaluation.distances))
    return Section("Settings, one at a time", tuple(tables))


def _ablation_table(
    ablation: Ablation, attacks: Sequence[tuple[object, AttackNumbers]], distances: Sequence[str]
) -> Table:
    columns = [scaled_column(n, [entry.mean(n) for _, entry in attacks]) for n in distances]
    return Table(
        (
            (f"{ablation.name}: {ablation.option}", "left"),
            ("images", "right"),
            ("8-bit success", "right"),
            ("total s", "right"),
            *((heading, "right") for heading, _ in columns),
        ),
        tuple(
            (
                str(value),
                str(entry.attacked),
                percent(entry.success_8bit),
                number(entry.seconds),
                *(cells[place] for _, cells in columns),
            )
            for place, (value, entry) in enumerate(attacks)
        ),
        f"Attacks that differ in {ablation.option} alone. Means over each one's own successes.",
    )


def _distributions(evaluation: AttackEvaluation, folder: Path | None) -> Section:
    blocks: list[Block] = []
    counts = {entry.attack: entry.attacked for entry in evaluation.own}
    for name in evaluation.distances:
        samples = {
            entry.attack: np.array(
                column(
                    [
                        row
                        for row in evaluation.rows
                        if row["attack"] == entry.attack
                        and row["attacked"]
                        and row[evaluation.over]
                    ],
                    name,
                ),
                dtype=np.float64,
            )
            for entry in evaluation.own
        }
        if not any(map(len, samples.values())):
            continue
        png = boxes_and_cumulative(samples, counts, value_label=title(name))
        medians = "; ".join(
            f"{attack} {np.median(values):.3g}" for attack, values in samples.items() if len(values)
        )
        blocks.append(
            kept_figure(
                folder,
                f"distances-{name}.png",
                png,
                f"{title(name)} of the attacked images from their originals. Left: quartiles and "
                "median, whiskers from the 5th to the 95th percentile. Right: the share of all "
                "images attacked that succeed within a distance; higher and further left is less "
                "visible.",
                f"Boxes and cumulative distributions of {title(name)}; medians: {medians}",
            )
        )
    return Section("Distributions", tuple(blocks))


def medians(
    entries: Sequence[AttackNumbers], distances: Sequence[str], *, effort: bool = False
) -> Table:
    """A row an attack: the median of every distance; with ``effort`` success and costs as well."""
    columns: list[Column[AttackNumbers]] = [
        Column("attack", lambda entry: entry.attack),
        Column("images", lambda entry: entry.attacked, "d"),
    ]
    if effort:
        columns += [
            Column("success", lambda entry: entry.success, percent),
            Column("8-bit", lambda entry: entry.success_8bit, percent),
        ]
    columns += [Column(title(name), _median(name), number) for name in distances]
    if effort:
        columns += [
            Column("s/image", lambda entry: entry.effort["seconds"], number),
            Column("calls", lambda entry: entry.effort["model_calls"], number),
        ]
    return Table.of(entries, columns)


def _median(name: str) -> Callable[[AttackNumbers], float | None]:
    return lambda entry: entry.median(name)


def ratios_table(found: AttackEvaluation) -> Table:
    """A row an attack: means over those of the baseline on the same images."""
    Ratios: TypeAlias = tuple[str, Mapping[str, float | None]]
    columns: list[Column[Ratios]] = [
        Column("attack", lambda row: row[0]),
        Column("images", lambda row: row[1]["images"], ".0f"),
    ]
    headings = {name: title(name) for name in found.distances}
    for name, heading in {**headings, "seconds": "seconds", "model_calls": "calls"}.items():
        columns.append(Column(heading, _ratio(name), ".2f"))
    others = [(name, some) for name, some in found.ratios.items() if name != found.baseline]
    return Table.of(others, columns)


def _ratio(name: str) -> Callable[[tuple[str, Mapping[str, float | None]]], float | None]:
    return lambda row: row[1][name]
