"""The report of a retrieval evaluation: numbers side by side, and pictures of what came first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from percert.evaluation.retrieval import RetrievalRow, RetrievalScore
from percert.images import load_image
from percert.reports.page import Block, Figure, Paragraph, Section, Table
from percert.reports.plots import Cell, Picture, picture_grid
from percert.runs import ImageItem, read_sample
from percert.runs.items import output_name


def attacked_path(folder: Path, detector: str, name: str) -> Path:
    """Where the attacked query of an image lies."""
    return folder / "attacked" / detector / output_name(name)


def retrieval_sections(
    scores: Sequence[RetrievalScore], rows: Sequence[RetrievalRow], pictures: Mapping[str, bytes]
) -> list[Section]:
    """The sections of the page; ``pictures`` are the bytes of a PNG by detector."""
    numbers: list[Block] = [
        Paragraph(
            "Every query is an image of the collection, and looked for among all others. The "
            "attack moves its embedding as far from where it was as it can; it is not told what "
            "the nearest image is. Certified: no change of the query within eps makes another "
            "image the first, whatever the attack; the run checks that each image that is proven "
            "to stay did stay."
        ),
        scores_table(scores),
    ]
    shown: list[Block] = [
        Figure(
            png,
            f"{name}, from top to bottom: the query, its nearest image, the attacked query as an "
            "8-bit file, and the nearest image to that.",
            f"Columns of four pictures, one column a query, by {name}.",
        )
        for name, png in pictures.items()
    ]
    sections = [Section("How many first images stay", tuple(numbers))]
    if shown:
        sections.append(Section("What comes first, before and after", tuple(shown)))
    return sections


def scores_table(scores: Sequence[RetrievalScore]) -> Table:
    """One line a detector."""
    eps = next((entry.eps for entry in scores if entry.eps is not None), None)
    return Table(
        (
            ("detector", "left"),
            ("queries", "right"),
            ("first unchanged", "right"),
            ("8-bit", "right"),
            ("certified" + ("" if eps is None else f" at l2 {eps:g}"), "right"),
            ("median radius", "right"),
            ("same class", "right"),
            ("same class after", "right"),
        ),
        tuple(
            (
                entry.detector,
                str(entry.queries),
                _share(entry.unchanged),
                _share(entry.unchanged_8bit),
                _share(entry.certified),
                "-" if entry.median_radius is None else f"{entry.median_radius:.3g}",
                _share(entry.same_class),
                _share(entry.same_class_after),
            )
            for entry in scores
        ),
        "Shares of the queries; the radius is an l2 length in the query's pixels.",
    )


def example_queries(rows: Sequence[RetrievalRow], wanted: int) -> list[str]:
    """Queries to look at: those whose first image changed for most detectors first.

    Ties stay in the order of ``rows``.
    """
    changed: dict[str, int] = {}
    for row in rows:
        changed[row.image] = changed.get(row.image, 0) + (not row.unchanged_8bit)
    return sorted(changed, key=lambda name: -changed[name])[:wanted]


def retrieval_pictures(
    rows: Sequence[RetrievalRow], items: Sequence[ImageItem], folder: Path, wanted: int
) -> dict[str, bytes]:
    """The pictures by detector, the same queries in each; none where ``wanted`` is 0."""
    by_name = {item.name: item for item in items}
    chosen = example_queries(rows, wanted)
    found = {}
    for detector in dict.fromkeys(row.detector for row in rows):
        mine = {row.image: row for row in rows if row.detector == detector}
        cells = []
        for name in chosen:
            row = mine[name]
            same = "same" if row.unchanged_8bit else "another"
            cells.append(
                Cell(
                    f"{Path(name).stem[:18]}: {same}",
                    (
                        _picture(by_name[name]),
                        _picture(by_name[row.first]),
                        _array(load_image(attacked_path(folder, detector, name))),
                        _picture(by_name[row.after_8bit]),
                    ),
                )
            )
        if cells:
            found[detector] = picture_grid(cells, title=detector, across=len(cells))
    return found


def _picture(item: ImageItem) -> Picture:
    return _array(read_sample(item).image)


def _array(image: Tensor) -> Picture:
    array: Picture = np.asarray(image.permute(1, 2, 0), dtype=np.float32)
    return array


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
