"""Large stores for measuring: vectors that are written as they are, without images behind them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, pixel_features
from percert.lipschitz.bound import LipschitzBound
from percert.search.store import Store
from percert.search.tables.location import open_tables
from percert.search.tables.scan import Block
from percert.search.tables.schema import ImageRow, MetricId, StoreHeader, images_table, in_parts

#: Rows that are written at once.
WRITTEN = 20_000
BOUND = LipschitzBound(1.0, "the vectors are measured as if the network had made them")


def random_units(count: int, width: int, seed: int) -> Tensor:
    """``(count, width)`` float32 vectors of length 1, uniform on the sphere."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.empty(count, width)
    for part in torch.split(vectors, WRITTEN):
        part.normal_(generator=generator)
        part /= part.norm(dim=1, keepdim=True)
    return vectors


def memory_blocks(vectors: Tensor, ids: list[str], rows: int) -> list[Block]:
    """``vectors`` in blocks that share their memory; the norms are known, as in a store."""
    norms = torch.cat([part.double().norm(dim=1) for part in torch.split(vectors, WRITTEN)])
    one, none = torch.ones_like(norms), torch.zeros_like(norms)
    return [
        Block(ids[some], vectors[some], norms[some], one[some], none[some], 1)
        for some in (slice(at, at + rows) for at in range(0, len(vectors), rows))
    ]


def query_features(queries: Tensor) -> list[PixelFeatures]:
    """Each row as the embedding of one query image."""
    return [pixel_features(query[None], BOUND) for query in queries]


def header_of(vectors: Tensor) -> StoreHeader:
    """The header of a store of ``vectors`` as they are."""
    digest = hashlib.sha256(vectors[:1].numpy().tobytes()).hexdigest()
    made_up = MetricId(
        "vectors", digest, 1.0, 0.0, 1e-5, vectors.shape[1], (8, 8), "none", "float32"
    )
    return StoreHeader(made_up, ("whole",))


def write_store(folder: Path, vectors: Tensor, ids: list[str]) -> Store:
    """A new store at ``folder`` that holds ``vectors``, written without looking for doubles."""
    tables = open_tables(str(folder), header_of(vectors))
    one, none = np.ones(1), np.zeros(1)
    for rows in in_parts(_rows(vectors, ids, one, none), WRITTEN):
        tables.images.add(images_table(rows, tables.header))
    return Store(tables, memory=0)


def _rows(
    vectors: Tensor, ids: list[str], bound: np.ndarray, error: np.ndarray
) -> Iterator[ImageRow]:
    for id, h in zip(ids, vectors.numpy(), strict=True):
        yield ImageRow(id, None, (64, 64), h[None], bound, error)
