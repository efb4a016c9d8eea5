"""The card of a metric: where it lives, and what may be expected of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MetricCard:
    """What one metric of the catalog is and promises; ``tests/metrics`` holds it to this.

    ``where`` is ``module:Class`` and ``settings`` what the class is called with. ``range`` are the
    least and greatest distance. ``resolution`` is the (height, width) at which the metric looks at
    images, ``None`` for the images' own; such a metric needs both images of one size, of at least
    ``smallest_side`` pixels. ``embedding`` says that it is an
    :class:`~percert.metrics.certified.embedding.EmbeddingMetric`, which certificates need;
    ``descriptor`` that it compares embeddings of single images without any proof.
    ``copy_threshold`` is the distance up to which a pair is best called copies, where recommended.
    ``checkpoint`` says where weights come from: ``"none"`` are needed, ``"optional"`` for such as
    come with percert, ``"required"`` for a file of yours, ``"fetched"`` for published ones that are
    looked for and downloaded, unless a file or folder is given, ``"packaged"`` for those that come
    with the packages of an extra (``networks``, ``sscd``), unless a file is given.
    """

    name: str
    where: str
    summary: str
    range: tuple[float, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    symmetric: bool = True
    differentiable: bool = True
    embedding: bool = False
    descriptor: bool = False
    resolution: tuple[int, int] | None = None
    smallest_side: int = 1
    copy_threshold: float | None = None
    checkpoint: str = "none"
    paper: str | None = None
    weights_licence: str | None = None
