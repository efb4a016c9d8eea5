"""Adding images to a store: embedded, committed, and only then reported.

Embed, commit, and only then tell: the end of every way of adding.

Adding images to a store.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from percert.check import check_images
from percert.images import LeftOut
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.ingest.outcomes import AddOutcome, AddSettings, AddStep, StageSeconds
from percert.search.ingest.pipeline import decoded_steps
from percert.search.ingest.snapshot import Snapshot
from percert.search.ingest.sources import count_sources
from percert.search.ingest.views import Prepared, embed_prepared, preparation, prepare_image
from percert.search.tables.commit import commit, maintain
from percert.search.tables.remove import remove_left_behind, remove_unheld
from percert.search.tables.roots import remember_roots
from percert.search.tables.schema import FileRow, ImageRow, in_parts, is_one_of

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass
class _Pending:
    """What is not on disk yet."""

    prepared: list[Prepared] = field(default_factory=list)
    images: list[ImageRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    outcomes: list[AddOutcome] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    left: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


def write_steps(
    store: "Store",
    steps: Iterable[AddStep],
    metric: EmbeddingMetric | None,
    settings: AddSettings,
    stages: StageSeconds,
) -> Iterator[AddOutcome]:
    """The outcome of each step, once what it needs is on disk; ``metric`` embeds what is not yet.

    An image that a file held before, and no other file holds, is removed once the file's new one
    is stored.
    """
    pending = _Pending()
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
            yield from _flush(store, pending, metric, stages)
            pending = _Pending()
    yield from _flush(store, pending, metric, stages)


def _flush(
    store: "Store", pending: _Pending, metric: EmbeddingMetric | None, stages: StageSeconds
) -> list[AddOutcome]:
    _embed(pending, metric, stages)
    began = time.perf_counter()
    missing = commit(store, pending.images, pending.files, pending.left)
    remove_unheld(store, pending.replaced)
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


@dataclass
class Added:
    """What came of adding tensors: ids of the images ``added``, and of those ``known`` before."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def iter_add(
    store: "Store",
    inputs: Iterable[str | os.PathLike[str]],
    settings: AddSettings | None = None,
    stages: StageSeconds | None = None,
) -> Iterator[AddOutcome]:
    """Add files, folders and parquet files, and tell of each image as soon as it is settled.

    Folders are searched as :func:`percert.images.find_images` does; a parquet file is one that
    is named, with a column ``image`` (a struct with ``bytes``, or binary). A file whose path, size
    and time of change are known costs nothing, one whose bytes are known costs reading; where these
    were stored under a path that is gone, it has moved, and the new path takes its place. An image
    whose outcome has been handed out survives whatever happens to this process after. ``stages``
    collects the seconds that each stage takes. Raises ``ValueError`` for a store that was opened
    without a metric.
    """
    settings, stages = settings or AddSettings(), stages or StageSeconds()
    began = time.perf_counter()
    metric = store.embedder()
    inputs = list(inputs)
    remember_roots(store, inputs)
    files, _ = count_sources(map(Path, inputs))
    steps = decoded_steps(
        files, Snapshot(store), preparation(store.header, metric), settings, stages
    )
    yield from write_steps(store, steps, metric, settings, stages)
    tidy(store)
    stages.total += time.perf_counter() - began


def add_files(
    store: "Store",
    inputs: Iterable[str | os.PathLike[str]],
    settings: AddSettings | None = None,
) -> list[AddOutcome]:
    """All outcomes of :func:`iter_add`.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> from percert.metrics.certified.lipsim import thumbnail
    >>> from percert.search import open_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_image(torch.rand(3, 20, 30), f"{folder}/a.png")
    ...     store = open_store(f"{folder}/store", thumbnail(8))
    ...     [[each.what for each in add_files(store, [f"{folder}/a.png"])] for _ in range(2)]
    [['added'], ['unchanged']]
    """
    return list(iter_add(store, inputs, settings))


def count_images(
    inputs: Iterable[str | os.PathLike[str]], left_out: list[LeftOut] | None = None
) -> int:
    """How many images ``inputs`` may hold: files, those in folders, and rows of parquet files.

    What the search of folders leaves out is added to ``left_out``.
    """
    return count_sources(map(Path, inputs), left_out)[1]


def tidy(store: "Store") -> None:
    """What is done once when an addition ends, and harms nobody where it is not."""
    remove_left_behind(store)
    maintain(store)
    store.refresh()


def add_tensors(store: "Store", images: Tensor | Sequence[Tensor], ids: Sequence[str]) -> Added:
    """See :meth:`percert.search.store.Store.add`."""
    if len(images) != len(ids):
        raise ValueError(f"ids: expected {len(images)}, one per image, found {len(ids)}")
    if len(set(ids)) != len(ids):
        raise ValueError("ids: expected each once, found some twice")
    metric = store.embedder()
    for image, id in zip(images, ids, strict=True):
        check_images(image[None], f"image {id}")
    how = preparation(store.header, metric)
    known = known_ids(store, ids)
    fresh = [(image, id) for image, id in zip(images, ids, strict=True) if id not in known]
    for part in in_parts(fresh, AddSettings().batch):
        prepared = [prepare_image(image.detach().cpu(), id, None, how) for image, id in part]
        commit(store, embed_prepared(metric, prepared), [])
    return Added([id for _, id in fresh], [id for id in ids if id in known])


def known_ids(store: "Store", ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` that are in the store."""
    store.refresh()
    found: set[str] = set()
    for condition in is_one_of("id", ids):
        rows = store.images.search().where(condition).select(["id"]).to_arrow()
        found.update(rows["id"].to_pylist())
    return found
