"""The background set: pictures that a store's per-image thresholds are calibrated against.

:mod:`percert.certify.own_threshold` has the rule. A background is made of pictures that have
nothing to do with the collection. One ships with each metric that has one
(``experiments/copies/strangers.py`` makes it); another can be made of a collection itself, on
command only: whoever may add pictures must not move the thresholds of others. A store keeps its
background, so that what is added later is measured against the same.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, pixel_features
from percert.certify.own_threshold import likeness
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.certified.embedding import SHORTEST
from percert.search.tables.location import Tables, named_table
from percert.search.tables.schema import BackgroundId, MetricId, background_schema
from percert.tensors import Embeddings, Vector

#: Axes along which a background is kept, and how much a likeness to it counts: more of either finds
#: and certifies no more on usual edits of photographs.
AXES, WEIGHT = 64, 0.5
_ANY = LipschitzBound(1.0, "not used: of what is compared only the direction counts")


@dataclass(frozen=True, eq=False)
class Background:
    """Pictures as int8 ``codes`` ``(m, a)`` in units of ``step`` along float16 ``axes`` ``(a, k)``.

    One byte a coordinate is accurate enough: likeness may be measured against any vectors, as long
    as none is longer than 1. ``weight`` is how much a likeness counts, ``source`` where the
    pictures are from (``"shipped"`` or ``"collection"``), ``weights`` the hash of the metric's.
    """

    axes: Tensor
    codes: Tensor
    step: float
    weight: float
    source: str
    weights: str

    @cached_property
    def id(self) -> BackgroundId:
        """Hash, weight and source, as a store's header records them."""
        # Not of the bytes of the file, whose metadata come in any order.
        digest = hashlib.sha256(f"{self.weights} {self.weight!r} {self.step!r}".encode())
        for values in (self.axes.half(), self.codes):
            digest.update(values.contiguous().numpy().tobytes())
        return BackgroundId(digest.hexdigest(), self.weight, self.source)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        return self.codes.double() * self.step, self.axes.double()

    def likeness(self, features: PixelFeatures) -> Vector:
        """The likeness ``(n,)`` of images with these features, 0 of those without a direction."""
        places, axes = self._rows
        directed = features.norm * features.bound.value >= SHORTEST
        return torch.where(directed, likeness(features, places, axes), 0.0)

    def of_rows(self, h: Tensor, constant: float) -> Tensor:
        """The likeness ``(n, v)``, float64, of raw embeddings ``(n, v, k)``."""
        rows = pixel_features(h.flatten(0, 1).double(), _ANY, constant=constant)
        return self.likeness(rows).view(h.shape[:2])

    def to_bytes(self) -> bytes:
        """All of it as safetensors."""
        from safetensors.torch import save

        names = {"step": repr(self.step), "weight": repr(self.weight), "source": self.source}
        tensors = {"axes": self.axes.half().contiguous(), "codes": self.codes.contiguous()}
        return save(tensors, {**names, "weights": self.weights})


def read_background(data: bytes) -> Background:
    """The inverse of :meth:`Background.to_bytes`."""
    import json

    from safetensors.torch import load

    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    said = json.loads(data[8 : 8 + length])["__metadata__"]
    return Background(
        tensors["axes"],
        tensors["codes"],
        float(said["step"]),
        float(said["weight"]),
        said["source"],
        said["weights"],
    )


def make_background(
    directions: Embeddings, weights: str, source: str, *, weight: float = WEIGHT, axes: int = AXES
) -> Background:
    """Compress unit ``directions`` ``(m, k)`` of pictures to a background.

    They are projected onto their first principal axes and rounded to a byte a coordinate; if
    rounding makes a row longer than 1, all are shrunk. Raises ``ValueError`` for no directions.

    >>> found = make_background(torch.eye(3), "none", "collection", axes=2)
    >>> found.codes.shape, found.axes.dtype
    (torch.Size([3, 2]), torch.float16)
    """
    if not len(directions):
        raise ValueError("background: expected at least one picture, found none")
    rows = directions.double()
    _, _, turned = torch.linalg.svd(rows, full_matrices=False)
    held = turned[:axes].half()
    places = rows @ held.double().T
    step = float(places.abs().max()) / 127 or 1.0
    codes = (places / step).round().to(torch.int8)
    placed = codes.double() * step
    longest = float((placed @ (held.double() @ held.double().T) * placed).sum(1).max()) ** 0.5
    step /= max(1.0, longest * (1 + 1e-9))
    return Background(held, codes, step, weight, source, weights)


@cache
def shipped_background(metric: str, weights: str) -> Background | None:
    """The background that comes with the metric called ``metric``, where it is of these weights.

    >>> shipped_background("thumbnail-8", "none") is None
    True
    """
    place = files("percert") / "weights" / f"{metric}-background.safetensors"
    if not place.is_file():
        return None
    found = read_background(place.read_bytes())
    return found if found.weights == weights else None


def background_of(metric: MetricId) -> Background | None:
    """The shipped background of a metric; ``None`` where it has none, or other weights."""
    return shipped_background(metric.name, metric.weights)


def stored_background(tables: Tables) -> Background | None:
    """The background that a store's thresholds are calibrated against; ``None`` where it has none.

    Raises ``ValueError`` where the one that it keeps is another than its header names.
    """
    named = tables.header.background
    if named is None:
        return None
    shipped = background_of(tables.header.metric)
    if shipped is not None and shipped.id == named:
        return shipped
    kept = named_table(tables.path, "background")
    rows = [] if kept is None else kept.search().to_arrow().to_pylist()
    for row in rows:
        if row["hash"] == named.hash:
            return read_background(row["data"])
    raise ValueError(
        f"{tables.path}: its background is not the one that its thresholds are by; "
        "percert index refit sets them anew"
    )


def background_table(background: Background | None) -> Any:
    """A background as the table that a store keeps it in."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    if background is None:
        return None
    row = {"hash": background.id.hash, "data": background.to_bytes()}
    return pa.Table.from_pylist([row], schema=background_schema())
