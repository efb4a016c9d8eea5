"""Queries and stored embeddings as unit vectors, and the exact distances between the two."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, embed
from percert.lipschitz.centre import Content
from percert.metrics.certified.embedding import SHORTEST, EmbeddingMetric
from percert.search.ingest.views import asked_views, find_view
from percert.search.tables.scan import Block
from percert.search.tables.schema import StoreHeader
from percert.tensors import Embeddings, Vector


@dataclass(frozen=True)
class EmbeddingSpec:
    """The format of a collection's embeddings, which queries have to match.

    It is the metric's ``constant`` c and relative float error (``feature_error``), how many
    ``views`` each image has, the metric's rule of what an image must hold (``content``), and
    ``asked``: for each view of a query the stored views that it is compared with (by default all,
    with the whole query).
    """

    constant: float = 0.0
    feature_error: float = 1e-5
    views: int = 1
    content: Content | None = None
    asked: Mapping[str, tuple[int, ...]] | None = None

    @property
    def by_asked(self) -> Mapping[str, tuple[int, ...]]:
        """For each view of a query, the indices of the stored views that it is compared with."""
        return {"whole": tuple(range(self.views))} if self.asked is None else self.asked


#: One view, no constant.
PLAIN_SPEC = EmbeddingSpec()


def embedding_spec(header: StoreHeader, metric: EmbeddingMetric | None) -> EmbeddingSpec:
    """The spec of the embeddings of a store with ``header``."""
    own = header.metric
    content = None if metric is None else metric.content
    asked = asked_views(header.views)
    return EmbeddingSpec(own.constant, own.feature_error, len(header.views), content, asked)


def stack(features: Sequence[PixelFeatures]) -> list[PixelFeatures]:
    """Concatenate batches of one row each; batches with different constants stay separate.

    Every row keeps its own pixel units. The bound of the whole is the smallest one: an embedding
    that is long enough to have a direction under that one has a direction under its own.
    """
    if len(features) == 1:
        return list(features)
    kinds = {(one.constant, one.relative, one.content is None) for one in features}
    if len(kinds) != 1:
        return list(features)
    least = min((one.bound for one in features), key=lambda bound: bound.value)
    h = torch.cat([one.h for one in features])
    error = torch.cat([one.error for one in features])
    held = [one.content for one in features if one.content is not None]
    content = torch.cat(held) if held else None
    return [PixelFeatures(h, features[0].constant, error, features[0].relative, least, content)]


def image_ids(block: Block, rows: Tensor) -> list[str]:
    """The ids of the images that ``rows`` ``(p,)`` of the block are views of."""
    return [block.ids[row // block.views] for row in rows.tolist()]


@dataclass(frozen=True, eq=False)
class Queries:
    """Unit vectors of q queries, float64: g = [h; c] / |[h; c]|, or 0 for one without a direction.

    ``h`` ``(q, k)`` is the embedding's part of each, ``last`` ``(q,)`` the part of the constant c.
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
    """Normalise the rows of ``features``, which may have different bounds, to :class:`Queries`.

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


def query_features(
    metric: EmbeddingMetric, images: Tensor | Sequence[Tensor]
) -> list[PixelFeatures]:
    """Embed the query images one by one, on the CPU; those of equal size share a batch."""
    found: list[PixelFeatures | None] = [None] * len(images)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for at, image in enumerate(images):
        by_size.setdefault(tuple(image.shape), []).append(at)
    for places in by_size.values():
        for start in range(0, len(places), 32):
            some = places[start : start + 32]
            together = embed(metric, torch.stack([images[at] for at in some]))
            for row, at in enumerate(some):
                found[at] = together.rows(slice(row, row + 1)).cpu()
    return [one for one in found if one is not None]


def asked_features(
    metric: EmbeddingMetric, images: Tensor | Sequence[Tensor], asked: Iterable[str]
) -> dict[str, list[PixelFeatures]]:
    """:func:`query_features` of each view that the images are asked in.

    A view is the image times a matrix of norm at most 1, so a change of the image by eps changes
    it by no more: what is proven of the view in its pixels is proven of the image.
    """
    every = list(images)
    names = tuple(asked)
    views = [find_view(name)(image) for name in names for image in every]
    features = query_features(metric, views)
    count = len(every)
    return {name: features[at * count : (at + 1) * count] for at, name in enumerate(names)}


def distances(query: Tensor, last: Vector, h: Embeddings, constant: float) -> Vector:
    """Exact cosine distance |g - g_j|^2 / 2 of p pairs, float64; exactly 0 for equal vectors.

    ``query`` ``(p, k)`` and ``last`` ``(p,)`` are unit vectors, of which one may stand for all,
    ``h`` ``(p, k)`` raw embeddings. An embedding shorter than float rounding
    (``percert.metrics.certified.embedding.SHORTEST``) has no direction, g = 0: it is at 0 from
    another such and at 1/2 from all others.
    """
    norm = row_norms(h, constant)
    scale = torch.where(norm >= SHORTEST, 1 / norm, 0.0)
    u = h * scale[:, None]
    u -= query
    far: Tensor = u.norm(dim=1).square_()
    if constant:
        far += (last - constant * scale).square()
    return far / 2


def row_norms(h: Embeddings, constant: float) -> Vector:
    """|[h; c]| of each row, float64."""
    norm: Tensor = h.norm(dim=1)
    return torch.hypot(norm, torch.full_like(norm, constant)) if constant else norm
