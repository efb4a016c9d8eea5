"""Queries and stored embeddings as unit vectors, and the exact distances between the two.

What a collection's embeddings are.

Embeddings of several images as one batch, and some rows of a batch.

Queries as directions, blocks of a collection, and the exact distances between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.lipschitz.centre import Content
from percert.metrics.certified.embedding import SHORTEST
from percert.tensors import Embeddings, Vector

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass(frozen=True)
class EmbeddingSpec:
    """What the collection's embeddings are: the metric's constant and float error, the number of
    views that each image has, and the metric's rule of what an image must hold.
    """

    constant: float = 0.0
    feature_error: float = 1e-5
    views: int = 1
    content: Content | None = None


#: One view, no constant.
PLAIN_SPEC = EmbeddingSpec()


def embedding_spec(store: "Store") -> EmbeddingSpec:
    """What the store's embeddings are."""
    identity = store.metric_id
    content = None if store.metric is None else store.metric.content
    return EmbeddingSpec(identity.constant, identity.feature_error, len(store.views), content)


def stack(features: Sequence[PixelFeatures]) -> list[PixelFeatures]:
    """Batches of a row each as one batch; as they are where their constants differ.

    The rows keep their own pixel units. The bound is the least, so that an embedding which is long
    enough to have a direction under it has one under its own.
    """
    kinds = {(one.constant, one.relative, one.content is None) for one in features}
    if len(kinds) != 1:
        return list(features)
    least = min((one.bound for one in features), key=lambda bound: bound.value)
    h = torch.cat([one.h for one in features])
    error = torch.cat([one.error for one in features])
    held = [one.content for one in features if one.content is not None]
    content = torch.cat(held) if held else None
    return [PixelFeatures(h, features[0].constant, error, features[0].relative, least, content)]


def take(features: PixelFeatures, index: Tensor) -> PixelFeatures:
    """Some rows, in the order of ``index``."""
    return features.rows(index)


class Block(Protocol):
    """Some images of a collection, in its order: ``m`` of them with ``views`` embeddings each.

    ``embeddings`` ``(m * views, k)`` is the raw h, float32 or float64, and ``norms`` its l2 norms:
    row r is view ``r % views`` of image ``ids[r // views]``.
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def embeddings(self) -> Embeddings: ...

    @property
    def norms(self) -> Vector: ...

    @property
    def views(self) -> int: ...


def image_ids(block: Block, rows: Tensor) -> list[str]:
    """The ids of the images that ``rows`` ``(p,)`` of the block are views of."""
    return [block.ids[row // block.views] for row in rows.tolist()]


@dataclass(frozen=True, eq=False)
class Queries:
    """Directions of q queries, float64: ``h`` ``(q, k)`` and ``last`` ``(q,)`` are the parts of
    g = unit([h; c]) without and with the constant c; both are 0 where a query has no direction.
    """

    h: Embeddings
    last: Vector
    constant: float

    def __len__(self) -> int:
        return len(self.h)

    @property
    def weight(self) -> Vector:
        """|g|^2: 1, or 0 for a query without a direction."""
        return (self.h.square().sum(1) + self.last.square() > 0.5).double()


def make_queries(features: Sequence[PixelFeatures], constant: float) -> Queries:
    """The directions of the rows of ``features``, which may have different bounds.

    ``constant`` is the metric's c. A row shorter than float rounding has no direction.
    """
    if not features:
        none = torch.zeros(0, dtype=torch.float64)
        return Queries(none[:, None], none, constant)
    width, parts = features[0].h.shape[1], stack(features)
    bounds = torch.tensor([one.bound.value for one in features], dtype=torch.float64)
    raw = torch.cat([part.norm.cpu() for part in parts]) * bounds
    valid = raw.isfinite() & (raw >= SHORTEST)
    g = torch.where(valid[:, None], torch.cat([part.directions.cpu() for part in parts]), 0.0)
    last = g[:, width] if constant else torch.zeros(len(g), dtype=torch.float64)
    return Queries(g[:, :width], last, constant)


def distances(query: Tensor, last: Vector, h: Embeddings, constant: float) -> Vector:
    """|g - g_j|^2 / 2 of p pairs in float64: the cosine distance, 0 to the last digit at identity.

    ``query`` ``(p, k)`` and ``last`` ``(p,)`` are directions, ``h`` ``(p, k)`` raw embeddings. An
    embedding shorter than float rounding
    (:data:`~percert.metrics.certified.embedding.SHORTEST`) has no
    direction, g = 0: it is at 0 from another such and at 1/2 from all others.
    """
    norm = row_norms(h, constant)
    scale = torch.where(norm >= SHORTEST, 1 / norm, 0.0)
    u = h * scale[:, None]
    u -= query
    far: Tensor = u.norm(dim=1)
    return (far.square() + (last - constant * scale).square()) / 2


def row_norms(h: Embeddings, constant: float) -> Vector:
    """|[h; c]| of each row, float64."""
    norm: Tensor = h.norm(dim=1)
    return torch.hypot(norm, torch.full_like(norm, constant))
