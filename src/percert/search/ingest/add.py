"""Adding images to a store: embedded, committed, and only then reported."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from percert.check import check_images
from percert.images import find_images
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.background import Background, stored_background
from percert.search.ingest.pipeline import decoded_steps
from percert.search.ingest.sources import (
    AddOutcome,
    AddSettings,
    AddStep,
    Snapshot,
    StageSeconds,
)
from percert.search.ingest.views import Prepared, embed_prepared, preparation, prepare_image
from percert.search.own_ids import follow_moves
from percert.search.tables.commit import (
    commit,
    known_ids,
    maintain,
    remove_left_behind,
    remove_unheld,
)
from percert.search.tables.files import remember_roots
from percert.search.tables.location import Tables
from percert.search.tables.schema import FileRow, ImageRow, in_parts


@dataclass
class _Pending:
    """Rows and outcomes that wait for the next commit."""

    prepared: list[Prepared] = field(default_factory=list)
    images: list[ImageRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    outcomes: list[AddOutcome] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    left: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


def write_steps(
    tables: Tables,
    steps: Iterable[AddStep],
    metric: EmbeddingMetric | None,
    settings: AddSettings,
    stages: StageSeconds,
) -> Iterator[AddOutcome]:
    """Write the steps to the tables in commits of many; yields each outcome once it is on disk.

    ``metric`` embeds the images that still have to be. Where a file's content has changed, the
    image that it held before is removed once the new one is stored, unless another file holds it.
    """
    pending, background = _Pending(), stored_background(tables)
    for step in steps:
        if step.file is None:
            yield step.outcome
        else:
            pending.files.append(step.file)
            pending.outcomes.append(step.outcome)
            pending.left += step.left
            if step.image is not None:
                pending.images.append(step.image)
            if step.prepared is not None:
                pending.prepared.append(step.prepared)
            if step.replaced is not None and step.replaced != step.outcome.id:
                pending.replaced.add(step.replaced)
        if len(pending.prepared) >= settings.batch:
            _embed(pending, metric, stages)
        late = time.monotonic() - pending.since > settings.commit_seconds
        if pending.outcomes and (late or len(pending.outcomes) >= settings.commit_images):
            yield from _flush(tables, pending, metric, background, stages)
            pending = _Pending()
    yield from _flush(tables, pending, metric, background, stages)


def _flush(
    tables: Tables,
    pending: _Pending,
    metric: EmbeddingMetric | None,
    background: Background | None,
    stages: StageSeconds,
) -> list[AddOutcome]:
    _embed(pending, metric, stages)
    began = time.perf_counter()
    images = _measured(pending.images, background, tables.header.metric.constant)
    # Before the commit: a run that is killed behind it does not look at these files again.
    follow_moves(tables.path, {one.path: one.was for one in pending.outcomes if one.was})
    missing = commit(tables, images, pending.files, pending.left)
    remove_unheld(tables, pending.replaced)
    stages.committing += time.perf_counter() - began
    gone = "another writer has just removed the same image; add it again"
    return [
        AddOutcome(outcome.path, "bad", reason=gone) if outcome.id in missing else outcome
        for outcome in pending.outcomes
    ]


def _embed(pending: _Pending, metric: EmbeddingMetric | None, stages: StageSeconds) -> None:
    if not pending.prepared:
        return
    if metric is None:
        raise ValueError("metric: expected one to embed images with, found none")
    began = time.perf_counter()
    pending.images += embed_prepared(metric, pending.prepared)
    pending.prepared.clear()
    stages.network += time.perf_counter() - began


def _measured(
    rows: Sequence[ImageRow], background: Background | None, constant: float
) -> list[ImageRow]:
    """``rows`` with their likeness to the background of the store."""
    if background is None or not rows:
        return list(rows)
    found = background.of_rows(torch.from_numpy(np.stack([row.h for row in rows])), constant)
    return [replace(row, likeness=of_one) for row, of_one in zip(rows, found.numpy(), strict=True)]


@dataclass
class Added:
    """Result of adding tensors: ids of the images ``added``, and of those ``known`` before."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def iter_add(
    tables: Tables,
    metric: EmbeddingMetric,
    inputs: Iterable[str | os.PathLike[str]],
    settings: AddSettings | None = None,
    stages: StageSeconds | None = None,
) -> Iterator[AddOutcome]:
    """Add files, folders and parquet files, and report each image once it is stored for good.

    Folders are searched as :func:`percert.images.find_images` does; a parquet file has to be named,
    and has a column ``image`` (bytes, or structs with ``bytes``). A file whose path, size and time
    of change are known costs nothing, one whose bytes are known costs reading; where these were
    stored under a path that is gone, it has moved, and the new path takes its place. ``stages``
    collects the seconds that each stage takes.
    """
    settings, stages = settings or AddSettings(), stages or StageSeconds()
    began = time.perf_counter()
    inputs = list(inputs)
    remember_roots(tables.path, inputs)
    how = preparation(tables.header, metric)
    steps = decoded_steps(find_images(inputs), Snapshot(tables), how, settings, stages)
    yield from write_steps(tables, steps, metric, settings, stages)
    tidy(tables)
    stages.total += time.perf_counter() - began


def tidy(tables: Tables) -> None:
    """Housekeeping at the end of an ingest: compaction, index of ids; no row depends on it."""
    remove_left_behind(tables)
    maintain(tables)
    tables.refresh()


def add_tensors(
    tables: Tables,
    metric: EmbeddingMetric,
    images: Tensor | Sequence[Tensor],
    ids: Sequence[str],
) -> Added:
    """Store images ``(n, 3, h, w)`` in [0, 1], or a list of ``(3, h, w)``, under ``ids``.

    An id that is there already keeps what it has. When this returns, all are stored, and stay so.
    Raises ``ValueError`` for what are not images, and for ids that are not one per image.
    """
    if len(images) != len(ids):
        raise ValueError(f"ids: expected {len(images)}, one per image, found {len(ids)}")
    if len(set(ids)) != len(ids):
        raise ValueError("ids: expected each once, found some twice")
    for image, id in zip(images, ids, strict=True):
        check_images(image[None], f"image {id}")
    how = preparation(tables.header, metric)
    known = known_ids(tables, ids)
    background = stored_background(tables)
    fresh = [(image, id) for image, id in zip(images, ids, strict=True) if id not in known]
    for part in in_parts(fresh, AddSettings().batch):
        prepared = [prepare_image(image.detach().cpu(), id, None, how) for image, id in part]
        rows = embed_prepared(metric, prepared)
        commit(tables, _measured(rows, background, tables.header.metric.constant), [])
    return Added([id for _, id in fresh], [id for id in ids if id in known])
