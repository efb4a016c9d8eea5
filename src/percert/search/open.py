"""A store of an index, opened at its folder or address; made where there is none."""

import os
from collections.abc import Sequence
from typing import Literal

from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.descriptor import Descriptor
from percert.metrics.metric import Metric
from percert.search.background import background_of, background_table
from percert.search.ingest.views import parse_views
from percert.search.store import Store
from percert.search.tables.cache import MEMORY
from percert.search.tables.location import open_tables
from percert.search.tables.schema import StoreHeader, check_same_metric, metric_id


def open_store(
    path: str | os.PathLike[str],
    metric: Metric | None = None,
    *,
    create: bool = True,
    views: str | Sequence[str] | None = None,
    memory: int = MEMORY,
    partner: Descriptor | Literal[False] | None = None,
) -> Store:
    """The store at ``path``, a folder or an address such as ``s3://bucket/name``.

    Where there is none, ``create`` makes one for ``metric`` and ``views`` (the name of a set of
    :data:`percert.search.ingest.views.VIEW_SETS`, or names of views; by default the set ``whole``).
    A store that exists must be of the same metric, weights included, and of the same views unless
    none are named: otherwise ``ValueError``, with both hashes. Without a ``metric``, the store can
    be looked at, verified and removed from, but nothing can be embedded. Embeddings of up to
    ``memory`` bytes in all are kept between queries; a larger store is read anew by each. A partner
    is loaded by its name when it is needed, unless it is given; ``False`` leaves it out.

    >>> import tempfile, torch
    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(f"{folder}/photos.store", Thumbnail(8))
    ...     added = store.add(torch.rand(2, 3, 32, 32), ids=["a", "b"])
    ...     store.count, [len(block.ids) for block in store.blocks()]
    (2, [2])
    """
    name = os.fspath(path)
    wanted = None if views is None else parse_views(views)
    given = None if metric is None else metric_id(metric)
    new, background = None, None
    if create and given is not None:
        background = background_of(given)
        own = None if background is None else background.id
        new = StoreHeader(given, wanted or parse_views("whole"), own)
    tables = open_tables(name, new, background_table(background))
    header = tables.header
    if given is not None:
        check_same_metric(header.metric, given, name)
    if wanted is not None and wanted != header.views:
        raise ValueError(
            f"{name}: holds the views {', '.join(header.views)}, found {', '.join(wanted)}"
        )
    embedder = metric if isinstance(metric, EmbeddingMetric) else None
    return Store(tables, embedder, memory, partner)
