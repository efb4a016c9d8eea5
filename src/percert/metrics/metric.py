"""What a metric is, the card that states what may be expected of it, and what it typically says.

What a metric is, and the card that states what may be expected of it.

What a metric usually says, so that a number of its own means something to people.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
    :class:`~percert.metrics.certified.embedding.EmbeddingMetric`, which certificates need.
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


#: Written by experiments/usual_distances.py, on the 300 ImageNet-Compatible photographs (299 px).
TYPICAL_FILE = Path(__file__).with_name("usual_distances.json")


@dataclass(frozen=True)
class TypicalDistances:
    """A metric's distance between photographs that have nothing to do with one another.

    9 of 10 such pairs lie between ``unrelated_low`` and ``unrelated_high``, half of them below
    ``unrelated``. ``jpeg`` is the median of a photograph and its JPEG file of quality 75.
    """

    jpeg: float
    unrelated_low: float
    unrelated: float
    unrelated_high: float


@cache
def _read_typical() -> dict[str, TypicalDistances]:
    entries = json.loads(TYPICAL_FILE.read_text(encoding="utf-8"))
    return {name: TypicalDistances(**entry) for name, entry in entries.items()}


def typical_distances(name: str) -> TypicalDistances | None:
    """What the metric called ``name`` usually says; ``None`` where that was not measured.

    >>> found = typical_distances("ssim")
    >>> 0 < found.jpeg < found.unrelated_low < found.unrelated < found.unrelated_high <= 2
    True
    >>> typical_distances("no such metric") is None
    True
    """
    return _read_typical().get(name)
