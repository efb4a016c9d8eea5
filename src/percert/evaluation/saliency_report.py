"""The report of ``percert eval saliency``: the paper's Table 2, and maps to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from percert.attacks.collection import find_items, read_subject
from percert.evaluation.attack_pictures import as_picture, choose_images, successes
from percert.evaluation.attack_report import distances_table, medians_table
from percert.evaluation.attack_tables import AttackNumbers
from percert.evaluation.attack_words import number, title
from percert.evaluation.attacked_files import Row
from percert.evaluation.saliency import DISTANCES, map_distances
from percert.evaluation.saliency_maps import Saliency
from percert.images import load_image
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Block, Figure, Section, kept_figure
from percert.reports.picture_grid import Cell, amplified, picture_grid
from percert.reports.records import column

#: The distance that is drawn and written beside maps.
DRAWN = "ssim"


def saliency_section(
    name: str,
    place: int,
    entries: Sequence[AttackNumbers],
    rows: Sequence[Row],
    pictures: Sequence[Figure],
    folder: Path | None = None,
) -> Section:
    """What one method says of all attacks. With ``folder`` its figure is written there as well."""
    blocks: list[Block] = [
        distances_table(
            entries,
            DISTANCES,
            f"Mean distances between the maps ({name}) of the originals and of the images that "
            "succeed as files; maps lie in [0, 1], L1 is a sum over pixels. The least of a column "
            "is marked *.",
        ),
        medians_table(entries, DISTANCES),
    ]
    samples = {
        entry.attack: np.array(
            column([r for r in rows if r["attack"] == entry.attack and r["success_8bit"]], DRAWN),
            dtype=np.float64,
        )
        for entry in entries
    }
    if any(map(len, samples.values())):
        counts = {entry.attack: entry.attacked for entry in entries}
        png = boxes_and_cumulative(samples, counts, value_label=f"{title(DRAWN)} of the maps")
        blocks.append(
            kept_figure(
                folder,
                f"saliency-{place}.png",
                png,
                f"{title(DRAWN)} between maps. Left: quartiles and median, whiskers from the 5th "
                "to the 95th percentile. Right: the share of all attacked images within a "
                "distance.",
                f"Boxes and cumulative distributions of {title(DRAWN)} between saliency maps",
            )
        )
    return Section(f"Saliency by {name}", (*blocks, *pictures))


def saliency_pictures(
    rows: Sequence[Row],
    originals: Path,
    saliency: Saliency,
    count: int,
    *,
    place: int = 1,
    folder: Path | None = None,
) -> list[Figure]:
    """``count`` images and what the attacks made of them, above its map (Figures 6 and 11)."""
    items = {item.name: item for item in find_items(originals)}
    figures = []
    for shown, image in enumerate(choose_images(rows, count)):
        original = read_subject(items[image]).image
        some = successes(rows, image)
        pictures = torch.stack([original, *(load_image(row["path"]) for row in some)])
        maps = saliency(pictures)
        moved = map_distances(maps[0], maps[1:])
        notes = ["original"]
        for row, distances in zip(some, moved, strict=True):
            value = distances[DRAWN]
            notes.append(f"{row['attack']}\n{title(DRAWN)} of the map {number(value)}")
        changes, factor = amplified([(one - maps[0]).numpy() for one in maps])
        cells = [
            Cell(note, (as_picture(picture), one.numpy(), change))
            for note, picture, one, change in zip(notes, pictures, maps, changes, strict=True)
        ]
        png = picture_grid(cells)
        figures.append(
            kept_figure(
                folder,
                f"maps-{place}-{shown + 1}.png",
                png,
                f"{image}: the images, below each its saliency map, and how that differs from the "
                f"original's, around grey, times {factor:.3g}.",
                f"{image} and {len(some)} attacked versions of it, with their saliency maps",
            )
        )
    return figures


def lead(methods: Mapping[str, object], entries: Mapping[str, Sequence[AttackNumbers]]) -> str:
    """What the report is about, in a sentence."""
    attacks = max((len(some) for some in entries.values()), default=0)
    return f"How far {attacks} attacks move what draws the eye, by {', '.join(methods)}."
