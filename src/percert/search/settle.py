"""Embed, commit, and only then tell: the end of every way of adding."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from percert.metrics.embedding import EmbeddingMetric
from percert.search.commit import commit
from percert.search.embed_views import Prepared, embed_prepared
from percert.search.outcome import Outcome, Settings, Stages, Step
from percert.search.remove import remove_unheld
from percert.search.rows import FileRow, ImageRow

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass
class _Pending:
    """What is not on disk yet."""

    prepared: list[Prepared] = field(default_factory=list)
    images: list[ImageRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    left: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


def settle(
    store: "Store",
    steps: Iterable[Step],
    metric: EmbeddingMetric | None,
    settings: Settings,
    stages: Stages,
) -> Iterator[Outcome]:
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
    store: "Store", pending: _Pending, metric: EmbeddingMetric | None, stages: Stages
) -> list[Outcome]:
    _embed(pending, metric, stages)
    began = time.perf_counter()
    missing = commit(store, pending.images, pending.files, pending.left)
    remove_unheld(store, pending.replaced)
    stages.committing += time.perf_counter() - began
    gone = "another writer has just removed the same image; add it again"
    return [
        Outcome(outcome.path, "bad", reason=gone) if outcome.id in missing else outcome
        for outcome in pending.outcomes
    ]


def _embed(pending: _Pending, metric: EmbeddingMetric | None, stages: Stages) -> None:
    if not pending.prepared:
        return
    if metric is None:
        raise ValueError("metric: expected one to embed images with, found none")
    began = time.perf_counter()
    pending.images += embed_prepared(metric, pending.prepared)
    pending.prepared.clear()
    stages.network += time.perf_counter() - began
