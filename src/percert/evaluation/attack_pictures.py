"""Attacked images beside their originals, to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from percert.attacks.collection import find_items, read_subject
from percert.evaluation.attack_words import number, title
from percert.evaluation.attacked_files import Row
from percert.images import load_image
from percert.reports.page import Figure, kept_figure
from percert.reports.picture_grid import Cell, Picture, amplified, picture_grid


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
        original = as_picture(read_subject(items[image]).image)
        some = successes(rows, image)
        attacked = {str(row["attack"]): as_picture(load_image(row["path"])) for row in some}
        changes, factor = amplified([one - original for one in attacked.values()])
        grey = np.full_like(original, 0.5)
        cells = [Cell("original", (original, grey))]
        for row, change in zip(some, changes, strict=True):
            value = row.get(distance)
            note = "" if value is None else f"\n{title(distance)} {number(value)}"
            cells.append(Cell(f"{row['attack']}{note}", (attacked[row["attack"]], change)))
        png = picture_grid(cells)
        figures.append(
            kept_figure(
                folder,
                f"pictures-{place + 1}.png",
                png,
                f"{image}, changes times {factor:.3g}.",
                f"{image} and {len(some)} attacked versions of it, with the changes amplified",
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
