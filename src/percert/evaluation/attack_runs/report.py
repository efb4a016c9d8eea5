"""The report of ``percert eval attacks``: the paper's tables and figures, of one's own runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from percert.evaluation.attack_runs.compare import (
    AttackEvaluation,
    AttackNumbers,
    Spread,
    distance_column,
    title,
)
from percert.evaluation.attack_runs.distances import Row
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Block, Figure, Paragraph, Section, kept_figure
from percert.reports.plots import Array
from percert.reports.records import column
from percert.reports.table import Column, Table, number, percent


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
                        "grey, multiplied by the same factor for all attacks on an image, and "
                        "where people would notice it."
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
    columns = [
        ATTACK,
        Column("images", lambda entry: entry.attacked, "d"),
        Column("success", lambda entry: entry.success, percent),
        Column("8-bit success", lambda entry: entry.success_8bit, percent),
        *_means(entries, distances),
    ]
    return Table.of(entries, columns, caption)


ATTACK: Column[AttackNumbers] = Column("attack", lambda entry: entry.attack)
EFFORTS: tuple[Column[AttackNumbers], ...] = (
    Column("total s", lambda entry: entry.seconds, number),
    Column("s an image", lambda entry: entry.effort["seconds"], number),
    Column("CPU s an image", lambda entry: entry.effort["cpu_seconds"], number),
    Column("model calls an image", lambda entry: entry.effort["model_calls"], number),
)


def _means(
    entries: Sequence[AttackNumbers], distances: Sequence[str]
) -> list[Column[AttackNumbers]]:
    def mean(name: str) -> Callable[[AttackNumbers], float | None]:
        return lambda entry: entry.mean(name)

    return [distance_column(name, mean(name), entries) for name in distances]


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

    def spread(name: str) -> Callable[[AttackNumbers], Spread | None]:
        return lambda entry: entry.distances[name]

    def quartiles(spread: Spread) -> str:
        return f"{number(spread.median)} ({number(spread.lower)} to {number(spread.upper)})"

    return Table.of(
        entries,
        [ATTACK, *(Column(title(name), spread(name), quartiles) for name in distances)],
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
    caption = (
        f"Mean over the mean of {evaluation.baseline}: of distances on the images on which both "
        "succeeded, of time and model calls on those on which both were tried. Below 1 is better."
    )
    return Section(f"Beside {evaluation.baseline}", (ratios_table(evaluation, caption),))


def _effort(evaluation: AttackEvaluation) -> Section:
    table = Table.of(
        evaluation.own,
        [ATTACK, Column("images", lambda entry: entry.attacked, "d"), *EFFORTS],
        "Wall-clock time of the attacks alone, without reading, judging and writing. Runs compare "
        "where they were made on one machine with nothing else on it; CPU seconds and model calls "
        "always do.",
    )
    return Section("Time", (table,))


def _ablations(evaluation: AttackEvaluation) -> Section:
    entries = {entry.attack: entry for entry in evaluation.own}
    tables = []
    for ablation in evaluation.ablations:
        values = {a: value for value, a in ablation.attacks if a in entries}
        if len(values) > 1:
            some = [entries[attack] for attack in values]
            columns = [
                Column(f"{ablation.name}: {ablation.option}", _setting(values)),
                Column("images", lambda entry: entry.attacked, "d"),
                Column("8-bit success", lambda entry: entry.success_8bit, percent),
                Column("total s", lambda entry: entry.seconds, number),
                *_means(some, evaluation.distances),
            ]
            caption = (
                f"Attacks that differ in {ablation.option} alone. Means over each one's own "
                "successes."
            )
            tables.append(Table.of(some, columns, caption))
    return Section("Settings, one at a time", tuple(tables))


def _setting(values: Mapping[str, object]) -> Callable[[AttackNumbers], str]:
    return lambda entry: str(values[entry.attack])


def samples_of(
    entries: Sequence[AttackNumbers], rows: Sequence[Row], name: str, over: str = "success_8bit"
) -> dict[str, Array]:
    """Each attack's values of the distance ``name``, of the attacked rows with ``over`` true."""
    return {
        entry.attack: np.array(
            column(
                [r for r in rows if r["attack"] == entry.attack and r["attacked"] and r[over]], name
            ),
            dtype=np.float64,
        )
        for entry in entries
    }


def _distributions(evaluation: AttackEvaluation, folder: Path | None) -> Section:
    blocks: list[Block] = []
    counts = {entry.attack: entry.attacked for entry in evaluation.own}
    for name in evaluation.distances:
        samples = samples_of(evaluation.own, evaluation.rows, name, evaluation.over)
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


def ratios_table(found: AttackEvaluation, caption: str = "") -> Table:
    """A row an attack: means over those of the baseline on the same images."""

    def ratio(name: str) -> Callable[[tuple[str, Mapping[str, float | None]]], float | None]:
        return lambda row: row[1][name]

    columns: list[Column[tuple[str, Mapping[str, float | None]]]] = [
        Column("attack", lambda row: row[0]),
        Column("images", lambda row: row[1]["images"], ".0f"),
        *(Column(title(name), ratio(name), ".2f") for name in found.distances),
        Column("seconds", ratio("seconds"), ".2f"),
        Column("CPU s", ratio("cpu_seconds"), ".2f", wide=True),
        Column("calls", ratio("model_calls"), ".2f"),
    ]
    others = [(name, some) for name, some in found.ratios.items() if name != found.baseline]
    return Table.of(others, columns, caption, short=not caption)
