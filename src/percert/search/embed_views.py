"""From decoded images to rows: the views of each, resized, embedded in batches of one size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.images import Resize
from percert.lipschitz.amplification import UNIT
from percert.metrics.embedding import ASSUMED_PIXEL_ERROR, SHORTEST, EmbeddingMetric
from percert.metrics.precision import full_precision
from percert.search.rows import ImageRow, StoreHeader
from percert.search.views import find_view


@dataclass(frozen=True)
class Prepared:
    """One image, ready for the network.

    ``inputs`` is ``(views, 3, *resolution)`` in the metric's precision, ``size`` the image's own
    (height, width); ``bound`` and ``pixel_error`` are those of :class:`ImageRow`. NumPy, since
    workers send it between processes.
    """

    id: str
    bytes: int | None
    size: tuple[int, int]
    inputs: npt.NDArray[np.floating]
    bound: npt.NDArray[np.float64]
    pixel_error: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Preparation:
    """What preparing an image for a store takes: little, so that workers need no network.

    ``bound`` is that of the network alone, and ``network_error`` its own float error, ``None``
    where that is not proven; ``precision`` ``"float32"`` or ``"float64"``.
    """

    views: tuple[str, ...]
    resize: Resize
    bound: float
    precision: str
    network_error: float | None = None


def preparation(header: StoreHeader, metric: EmbeddingMetric) -> Preparation:
    """How images are prepared for a store with ``header``."""
    return Preparation(
        header.views,
        metric.resize,
        header.metric.bound,
        str(metric.precision).removeprefix("torch."),
        metric.network_error() if metric.proven else None,
    )


def prepare_image(image: Tensor, id: str, bytes: int | None, how: Preparation) -> Prepared:
    """Cut the views of ``image`` ``(3, h, w)`` and resize each: all that is done per image."""
    precision: torch.dtype = getattr(torch, how.precision)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    parts = [find_view(name)(image[None]) for name in how.views]
    inputs = torch.cat([how.resize(part, dtype=precision) for part in parts]).numpy()
    bound, error = np.array(view_bounds(how, size)), np.array(view_errors(how, size))
    return Prepared(id, bytes, size, inputs, bound, error)


def embed_prepared(metric: EmbeddingMetric, prepared: Sequence[Prepared]) -> list[ImageRow]:
    """The rows of ``prepared``, which go through the network in one batch.

    The same embeddings as ``metric.embed`` of each view, up to float rounding, which
    ``metric.float_error`` covers: a network rounds otherwise in a batch of another size.
    """
    if not prepared:
        return []
    inputs = torch.from_numpy(np.concatenate([one.inputs for one in prepared]))
    device = next((value.device for value in metric.buffers()), torch.device("cpu"))
    with torch.inference_mode(), full_precision(device):
        embeddings: Tensor = metric.network(inputs.to(device))
    h = embeddings.float().cpu().view(len(prepared), -1, embeddings.shape[1]).numpy()
    return [
        ImageRow(one.id, one.bytes, one.size, h[place], one.bound, one.pixel_error)
        for place, one in enumerate(prepared)
    ]


@lru_cache(maxsize=4096)
def view_bounds(how: Preparation, size: tuple[int, int]) -> tuple[float, ...]:
    """The proven bound of each view's embedding, in pixels of an image of (height, width) ``size``.

    A view is the image times a matrix of norm at most 1 (a selection of pixels, perhaps mirrored),
    so the metric's bound at the size of the view holds for the image.
    """
    return tuple(how.bound * how.resize.norm(find_view(name).size(size)) for name in how.views)


@lru_cache(maxsize=4096)
def view_errors(how: Preparation, size: tuple[int, int]) -> tuple[float, ...]:
    """What rounding can do to each view's embedding, and :data:`SHORTEST`, in pixel units.

    As :func:`percert.certify.embed.embed` has it; a view takes pixels as they are.
    """
    sizes = [find_view(name).size(size) for name in how.views]
    bounds = view_bounds(how, size)
    if how.network_error is None:
        assumed = [ASSUMED_PIXEL_ERROR * math.sqrt(3 * height * width) for height, width in sizes]
        return tuple(error + SHORTEST / bound for error, bound in zip(assumed, bounds, strict=True))
    unit = UNIT[getattr(torch, how.precision)]
    return tuple(
        (how.resize.rounding(view, unit) + how.network_error + SHORTEST) / bound
        for view, bound in zip(sizes, bounds, strict=True)
    )
