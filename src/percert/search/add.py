"""Adding images to a store."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from percert.check import check_images
from percert.images import LeftOut
from percert.search.commit import commit, maintain
from percert.search.embed_views import embed_prepared, preparation, prepare_image
from percert.search.known import Known
from percert.search.local import local_steps
from percert.search.outcome import Outcome, Settings, Stages
from percert.search.remove import remove_left_behind
from percert.search.roots import remember_roots
from percert.search.rows import in_parts, is_one_of
from percert.search.settle import settle
from percert.search.sources import count_sources

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass
class Added:
    """What came of adding tensors: ids of the images ``added``, and of those ``known`` before."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def iter_add(
    store: "Store",
    inputs: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
    stages: Stages | None = None,
) -> Iterator[Outcome]:
    """Add files, folders and parquet files, and tell of each image as soon as it is settled.

    Folders are searched as :func:`percert.images.find_images` does; a parquet file is one that
    is named, with a column ``image`` (a struct with ``bytes``, or binary). A file whose path, size
    and time of change are known costs nothing, one whose bytes are known costs reading; where these
    were stored under a path that is gone, it has moved, and the new path takes its place. An image
    whose outcome has been handed out survives whatever happens to this process after. ``stages``
    collects the seconds that each stage takes. Raises ``ValueError`` for a store that was opened
    without a metric.
    """
    settings, stages = settings or Settings(), stages or Stages()
    began = time.perf_counter()
    metric = store.embedder()
    inputs = list(inputs)
    remember_roots(store, inputs)
    files, _ = count_sources(map(Path, inputs))
    steps = local_steps(files, Known(store), preparation(store.header, metric), settings, stages)
    yield from settle(store, steps, metric, settings, stages)
    tidy(store)
    stages.total += time.perf_counter() - began


def add_files(
    store: "Store",
    inputs: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
) -> list[Outcome]:
    """All outcomes of :func:`iter_add`.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> from percert.metrics.thumbnail import thumbnail
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
    for part in in_parts(fresh, Settings().batch):
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
