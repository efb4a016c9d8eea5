"""Migration of an earlier percert's store to the present layout; a killed run resumes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from percert.metrics.metric import Metric
from percert.search.indexing import VIEWS, Progress, count_outcomes
from percert.search.info import stored_metric
from percert.search.ingest.sources import AddOutcome, AddSettings
from percert.search.open import open_store
from percert.search.store import Store
from percert.search.tables.files import key_path
from percert.search.tables.location import Tables


@dataclass(frozen=True)
class Upgraded:
    """What became of the images of ``old`` in the store ``new``.

    ``counts`` and ``bad`` as of :class:`~percert.search.indexing.Indexed`; ``without_file``
    images stay in ``old`` alone.
    """

    old: Store
    new: Store
    counts: dict[str, int]
    bad: list[AddOutcome]
    without_file: int


def upgrade_store(
    path: str,
    out: str,
    metric: Metric | None,
    views: str = VIEWS,
    *,
    progress: Progress = lambda step, done, total: None,
) -> Upgraded:
    """Make a store at ``out`` of today's layout from the files of the one at ``path``.

    A store that is at ``out`` already keeps its views: a run that was stopped resumes. The store at
    ``path`` is only read.
    """
    old = open_store(path, create=False)
    new = open_store(out, metric, views=views if stored_metric(out) is None else None)
    total = len(files_of(old.tables))
    counts, bad = count_outcomes(iter_upgrade(old.tables, new), total, progress)
    return Upgraded(old, new, counts, bad, without_file(old.tables))


def files_of(tables: Tables) -> list[Path]:
    """The image and parquet files that a store knows, each once, in order."""
    keys = tables.files.search().select(["path"]).to_arrow()["path"].to_pylist()
    return sorted({key_path(key)[0] for key in keys})


def without_file(old: Tables) -> int:
    """How many images a store holds that no file of it is there for any more."""
    held = old.files.search().select(["path", "id"]).to_arrow().to_pylist()
    there = {row["id"] for row in held if os.path.exists(key_path(row["path"])[0])}
    return int(old.images.count_rows()) - len(there)


def iter_upgrade(
    old: Tables, new: Store, settings: AddSettings | None = None
) -> Iterator[AddOutcome]:
    """Add every file of ``old`` that still exists to ``new``; yields an outcome each.

    Files that ``new`` has are skipped, so a run that was stopped resumes. ``old`` is only read:
    images without a file stay in it alone, since their other views cannot be made.
    """
    files = [path for path in files_of(old) if path.exists()]
    if files:
        yield from new.iter_add(files, settings)
