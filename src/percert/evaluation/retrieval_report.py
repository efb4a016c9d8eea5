"""A retrieval evaluation as a whole: its settings, numbers side by side, and what came first."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from percert.evaluation.copies.detector import Detector, weights_of
from percert.evaluation.copies.measure import spread
from percert.evaluation.retrieval import (
    RetrievalRow,
    RetrievalScore,
    attacked_file,
    describe_items,
    folders_as_labels,
    keep_retrieval,
    score,
)
from percert.files import write_whole
from percert.images import LeftOut, load_image
from percert.images.walk import listed, listed_left_out
from percert.reports.page import Block, Figure, Paragraph, Section, how_made, write_page
from percert.reports.plots import Cell, Picture, picture_grid
from percert.reports.records import read_run
from percert.reports.table import Column, Table
from percert.runs.engine import Progress, RunFolder, RunResult, silent
from percert.runs.items import ImageItem, check_names, find_items, read_sample
from percert.runs.labels import with_labels
from percert.runs.plan import attacks_for


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalSettings:
    """The collection ``images`` (a folder or a parquet file), the detectors, and the attack.

    ``attack`` is a text of the catalog; ``labels`` a CSV file of classes, without which those of a
    parquet file or the folders of the images count. At most so many ``queries`` are spread evenly,
    and ``pictures`` of them shown.
    """

    images: Path
    detectors: Sequence[Detector]
    attack: str = "pgd:norm=l2,eps=2,steps=40"
    labels: Path | None = None
    queries: int = 100
    pictures: int = 6
    seed: int = 0
    device: str = "cpu"


def run_retrieval(
    asked: RetrievalSettings, out: Path, *, command: Sequence[str] = (), progress: Progress = silent
) -> RunResult:
    """Retrieve under attack into ``out``: records, attacked queries, pictures, a page, JSON.

    Goes on where an earlier run of the same stood. Raises ``ValueError`` for an attack that moves
    no embeddings, and ``BrokenCertificate`` where the nearest image changed inside of its
    certificate.
    """
    ((_, attack),) = attacks_for([asked.attack], "embedding").items()
    left_out: list[LeftOut] = []
    items = find_items(asked.images, left_out)
    named: set[str] | None = None
    if asked.labels is not None:
        labelled = {item.name: item for item in with_labels(items, asked.labels)}
        items, named = [labelled.get(item.name, item) for item in items], set(labelled)
    check_names(items)
    described = describe_items(asked.detectors, items, named, progress)
    if asked.labels is None:
        described = replace(described, items=folders_as_labels(described.items))
    settings = {
        "eval": "retrieval",
        "images": str(asked.images.resolve()),
        "count": len(described.items),
        "labels": asked.labels and str(asked.labels.resolve()),
        "detectors": {one.name: weights_of(one) for one in asked.detectors},
        "attack": asked.attack,
        "queries": asked.queries,
        "seed": asked.seed,
    }
    folder = RunFolder(out, settings, device=asked.device, command=command)
    queries = spread(len(described.items), asked.queries)
    rows, _ = keep_retrieval(
        folder, asked.detectors, described, queries, attack, seed=asked.seed, progress=progress
    )
    eps = getattr(attack, "eps", None) if getattr(attack, "norm", None) == "l2" else None
    scores = score(rows, None if eps is None else float(eps))
    grids = retrieval_pictures(rows, described.items, out, asked.pictures)
    for name, png in grids.items():
        write_whole(out / f"{name}.png", png)
    answer = folder.answer(
        "retrieval",
        {
            "images": len(described.items),
            "queries": len(queries),
            "attack": asked.attack,
            "checked": "no query left its first image within its certificate",
            "scores": [asdict(entry) for entry in scores],
            "bad": listed(described.bad),
            "left_out": listed_left_out(left_out),
        },
    )
    write_page(
        out / "report.html",
        "Retrieval",
        [*retrieval_sections(scores, rows, grids), how_made(read_run(out))],
        lead=f"{len(queries)} queries in a collection of {len(described.items)} images, attacked "
        f"by {asked.attack}.",
    )
    shown = (
        scores_table(scores),
        f"report.html, retrieval.json and the attacked queries are in {out}",
    )
    return RunResult(answer, shown, described.bad, left_out=left_out)


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
    certified = "certified" + ("" if eps is None else f" at l2 {eps:g}")
    columns: list[Column[RetrievalScore]] = [
        Column("detector", lambda one: one.detector),
        Column("queries", lambda one: one.queries, "d"),
        Column("first unchanged", lambda one: one.unchanged, ".3f"),
        Column("8-bit", lambda one: one.unchanged_8bit, ".3f"),
        Column(certified, lambda one: one.certified, ".3f"),
        Column("median radius", lambda one: one.median_radius, ".3g"),
        Column("same class", lambda one: one.same_class, ".3f"),
        Column("same class after", lambda one: one.same_class_after, ".3f"),
    ]
    caption = "Shares of the queries; the radius is an l2 length in the query's pixels."
    return Table.of(scores, columns, caption)


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
                        _array(load_image(folder / attacked_file(detector, name))),
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
