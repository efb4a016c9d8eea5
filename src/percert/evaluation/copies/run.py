"""``run_copies``: an evaluation of copy detectors, from folders of pictures to a report."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from percert.evaluation.copies.detector import Detector, background_hash, weights_of
from percert.evaluation.copies.evaluate import CopiesPlan, QueryRow, evaluate_copies
from percert.evaluation.copies.measure import ResultsFolder, spread
from percert.evaluation.copies.pictures import PictureFiles, find_twins, pixels_hash, twins_sections
from percert.evaluation.copies.report import (
    attack_figure,
    copies_sections,
    results_shown,
    roc_figure,
)
from percert.files import write_whole
from percert.images import LeftOut
from percert.images.walk import listed, listed_left_out
from percert.reports.page import how_made, write_page
from percert.reports.records import columns_of, read_run, write_records
from percert.runs.engine import Progress, RunFolder, RunResult, Step, silent
from percert.runs.items import ImageItem, items_at, read_samples

#: Where a run keeps what it has computed until it is done.
PARTS = "parts"


@dataclass(frozen=True, kw_only=True, eq=False)
class CopiesSettings:
    """The pictures and the detectors of an evaluation; ``plan`` is how they are evaluated.

    ``images`` and ``distractors`` are pictures and folders of them: of at most ``queries`` of the
    former, spread evenly, copies are made; the collection has both.
    """

    images: Sequence[Path]
    detectors: Sequence[Detector]
    plan: CopiesPlan
    distractors: Sequence[Path] = ()
    queries: int = 300
    device: str = "cpu"


def run_copies(
    asked: CopiesSettings,
    out: Path,
    *,
    command: Sequence[str] = (),
    progress: Progress = silent,
    twins_found: Callable[[Sequence[Sequence[str]]], object] = lambda twins: None,
) -> RunResult:
    """Evaluate copy detectors into ``out``: records, two figures, ``copies.json`` and a report.

    ``twins_found`` is told which pictures have the same pixels before anything is evaluated. Goes
    on where an earlier run of the same stood. Raises ``ValueError`` for fewer than two pictures,
    and ``BrokenCertificate`` where certified <= attacked <= natural does not hold.
    """
    plan = asked.plan
    left_out: list[LeftOut] = []
    own, bad = _readable(asked.images, left_out, progress)
    others, more = (
        _readable(asked.distractors, left_out, progress) if asked.distractors else ({}, [])
    )
    items = list(own | others)
    if not own or len(items) < 2:
        raise ValueError(
            f"{', '.join(map(str, asked.images))}: expected at least 2 images that can be read, "
            f"found {len(items)}"
        )
    twins = find_twins({**own, **others})
    twins_found(twins)
    settings = {
        "eval": "copies",
        "images": _fingerprint(list(own)),
        "distractors": _fingerprint(items[len(own) :]),
        "detectors": {one.name: weights_of(one) for one in asked.detectors},
        "backgrounds": {one.name: background_hash(one) for one in asked.detectors},
        "edits": [edit.name for edit in plan.edits],
        "views": list(plan.views),
        "eps": list(plan.budgets),
        "side": plan.side,
        "threshold": asdict(plan.threshold),
        "attacked": plan.attacked,
        "steps": plan.steps,
        "queries": asked.queries,
        "seed": plan.seed,
    }
    folder = RunFolder(out, settings, device=asked.device, command=command)
    queries = spread(len(own), asked.queries)
    rows: list[QueryRow] = []
    results = evaluate_copies(
        asked.detectors,
        PictureFiles(items),
        queries,
        list(range(len(own), len(items))) or queries,
        plan,
        parts=ResultsFolder(out / PARTS),
        progress=progress,
        rows=rows.extend,
    )
    write_records(
        out / "records.parquet",
        [{**asdict(row), "query": items[row.query].name} for row in rows],
        {**columns_of(QueryRow), "query": str},
    )
    figures = {"roc.png": roc_figure(results), "eps.png": attack_figure(results)}
    for name, png in figures.items():
        write_whole(out / name, png)
    unread = [*bad, *more]
    answer = folder.answer(
        "copies",
        {
            "images": len(own),
            "distractors": len(items) - len(own),
            "queries": len(queries),
            "views": list(plan.views),
            "side": plan.side,
            "checked": "certified <= attacked <= natural for every pair",
            "detectors": [asdict(one) for one in results],
            "twins": twins,
            "bad": listed(unread),
            "left_out": listed_left_out(left_out),
        },
    )
    folder.note(finished=True)
    write_page(
        out / "report.html",
        "Copies",
        [
            *twins_sections(twins),
            *copies_sections(results, plan, figures["roc.png"], figures["eps.png"]),
            how_made(read_run(out)),
        ],
        lead=f"{len(queries)} pictures under {len(plan.edits)} edits, looked for among "
        f"{len(items)} pictures in {len(plan.views)} view(s).",
    )
    shutil.rmtree(out / PARTS, ignore_errors=True)
    shown = (*results_shown(results), f"report.html, copies.json and records.parquet are in {out}")
    return RunResult(answer, shown, unread, left_out=left_out)


def _readable(
    paths: Sequence[Path], left_out: list[LeftOut], progress: Progress
) -> tuple[dict[ImageItem, str], list[tuple[str, str]]]:
    """The images among ``paths`` that can be read, each once and with a hash of its pixels, and
    those that cannot, and why. What the search leaves out is added to ``left_out``.
    """
    items = list(dict.fromkeys(items_at(paths, left_out)))
    good: dict[ImageItem, str] = {}
    bad: list[tuple[str, str]] = []
    for count, one in enumerate(read_samples(items)):
        progress("reading", count, len(items))
        if isinstance(one, Step):
            bad.append((str(one.bad), one.reason))
        else:
            good[one.item] = pixels_hash(one.image)
    return good, bad


def _fingerprint(items: Sequence[ImageItem]) -> dict[str, Any]:
    """How many files, and a hash of their paths, sizes and times: whether they are the same."""
    digest = hashlib.sha256()
    for path in (item.source for item in items):
        stat = os.stat(path)
        digest.update(os.fsencode(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return {"count": len(items), "sha256": digest.hexdigest()}
