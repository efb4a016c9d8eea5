"""What a metric is, and the card that states what may be expected of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn

    from percert.tensors import Images, Vector


class Metric(Protocol):
    """A perceptual distance: ``metric(reference, candidate) -> (n,)``, one number per image pair.

    0 at identity, lower is closer. Images are sRGB in [0, 1]. A metric is differentiable in both
    arguments where its card says so, and never changes the caller's gradient mode.
    """

    def __call__(self, reference: "Images", candidate: "Images", /) -> "Vector": ...


@dataclass(frozen=True)
class MetricCard:
    """What one metric of the catalog is and promises; ``tests/metrics`` holds it to this.

    ``range`` are the least and greatest distance. ``resolution`` is the (height, width) at which
    the metric looks at images, ``None`` for the images' own; such a metric needs both images of one
    size, of at least ``smallest_side`` pixels. ``embedding`` says that it is an
    :class:`~percert.metrics.embedding.EmbeddingMetric`, which certificates need.
    ``copy_threshold`` is the distance up to which a pair is best called copies, where recommended.
    ``checkpoint`` says where weights come from: ``"none"`` are needed, ``"optional"`` for such as
    come with percert, ``"required"`` for a file of yours, ``"fetched"`` for published ones that are
    looked for and downloaded, unless a file or folder is given, ``"packaged"`` for those that come
    with the packages of the extra ``networks``, unless a file is given.
    """

    name: str
    factory: "Callable[[str | None], nn.Module]"
    summary: str
    range: tuple[float, float]
    symmetric: bool = True
    differentiable: bool = True
    embedding: bool = False
    resolution: tuple[int, int] | None = None
    smallest_side: int = 1
    copy_threshold: float | None = None
    checkpoint: str = "none"
    paper: str | None = None
    weights_licence: str | None = None
