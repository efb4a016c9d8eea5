"""Recalibration: the per-image thresholds of a whole store set anew, on command only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from percert.search.background import (
    Background,
    background_of,
    background_table,
    make_background,
)
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.overtaking import stored_features
from percert.search.tables.location import Tables, open_tables, write_again, writing
from percert.search.tables.scan import scan_blocks
from percert.search.tables.schema import StoreHeader, images_schema

#: Of the images of a collection so many, evenly spread, are its background.
SAMPLE = 4096
#: What lies as near as this to another of them is left out: it may be a copy of it.
NEAR = 0.5
#: Embeddings that are read at once.
READ = 8192


@dataclass(frozen=True, eq=False)
class Refitted:
    """What recalibration changed.

    Of ``images``, the thresholds of ``stricter`` and ``wider`` ones changed by more than 0.01 (in
    at least one view); ``mean`` is the mean change of all views, a distance at the same T.
    ``pictures`` is the size of the background; ``tables`` are those of the store as it is now.
    """

    tables: Tables
    source: str
    pictures: int
    images: int
    stricter: int
    wider: int
    mean: float


def refit_store(
    tables: Tables, spec: EmbeddingSpec, source: Literal["shipped", "collection"]
) -> Refitted:
    """Measure all images of a store against the background ``source``, in one commit.

    Killed before, the store is as it was. Raises ``ValueError`` for a store of the first layout,
    which keeps no likeness, where the metric ships no background, and where too few images differ
    from each other to make one.
    """
    with writing(tables.path):
        tables.refresh()
        header = tables.header
        if header.layout < 2:
            raise ValueError(
                f"{tables.path}: made by an earlier percert, with one threshold for all; "
                "percert index upgrade makes a store of it that has one for each image"
            )
        background = background_of(header.metric)
        if source == "collection":
            background = collection_background(tables, spec)
        elif background is None:
            raise ValueError(f"{header.metric.name} ships no background for these weights")
        new = replace(header, background=background.id)
        changes = _Changes(header.weight, background)
        write_again(tables, changes.batches(tables, new), new, background_table(background))
    return Refitted(
        open_tables(tables.path),
        source,
        len(background.codes),
        changes.images,
        changes.stricter,
        changes.wider,
        changes.total / max(1, changes.images * len(header.views)),
    )


def collection_background(tables: Tables, spec: EmbeddingSpec) -> Background:
    """A background of the stored images themselves, as wholes, their near-duplicates left out."""
    header = tables.header
    step, place, parts = max(1, -(-int(tables.images.count_rows()) // SAMPLE)), 0, []
    for block in scan_blocks(tables, READ):
        whole = block.of_view(0).embeddings
        parts.append(whole[(-place) % step :: step].clone())
        place += len(block.ids)
    h = torch.cat(parts) if parts else torch.zeros(0, header.metric.width)
    rows = stored_features(h, spec.constant, spec.feature_error, spec.content)
    kept = rows.valid
    if rows.content is not None:
        kept = kept & (rows.content > 0)
    g = _apart(rows.directions[kept].float())
    if len(g) < 64:
        raise ValueError(
            f"{tables.path}: {len(g)} images that differ from each other, expected at least 64 to "
            "measure others against"
        )
    return make_background(g, header.metric.weights, "collection")


def _apart(g: Tensor) -> Tensor:
    """Those of the directions ``(n, k)`` that are near-duplicates of none before them."""
    near = (g @ g.T).triu(1) > 1 - NEAR
    return g[~near.any(0)]


class _Changes:
    """Counts changes of likeness, batch by batch, and what they do to thresholds."""

    def __init__(self, weight: float, background: Background) -> None:
        self.weight, self.background = weight, background
        self.images = self.stricter = self.wider = 0
        self.total = 0.0

    def batches(self, tables: Tables, header: StoreHeader) -> Iterator[Any]:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

        schema, views = images_schema(header), len(header.views)
        for batch in tables.images.search().to_batches(batch_size=max(1, READ // views)):
            if not len(batch):
                continue
            columns = {name: batch.column(name) for name in schema.names}
            h = columns["h"].flatten().to_numpy(zero_copy_only=False).astype(np.float32)
            rows = torch.from_numpy(h).view(len(batch), views, -1)
            new = self.background.of_rows(rows, header.metric.constant).numpy()
            old = columns["likeness"].flatten().to_numpy().reshape(new.shape)
            self._count(self.weight * old, self.background.weight * new)
            columns["likeness"] = pa.FixedSizeListArray.from_arrays(
                pa.array(new.reshape(-1)), type=schema.field("likeness").type
            )
            yield pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)

    def _count(self, old: Any, new: Any) -> None:
        change = old - new  # of a threshold: what resembles less gets a wider one
        self.images += len(change)
        self.stricter += int((change < -0.01).any(1).sum())
        self.wider += int((change > 0.01).any(1).sum())
        self.total += float(change.sum())
