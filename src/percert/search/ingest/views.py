"""Views of an image (crops, turned and mirror images): which are stored, which a query has.

A view is a selection of pixels, a linear map of norm at most 1, so its bound is the metric's
bound at the size of the view. A query as a whole is compared with most stored views; bands (what is
left without the bottom, the top, or the margins) are compared with the same band of the query. The
proofs for a query that is tampered with do not depend on how stored embeddings were made
(``docs/concepts/certificates.md``, "Views").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.device import full_precision
from percert.images import Resize
from percert.lipschitz.effective import UNIT
from percert.metrics.certified.embedding import ASSUMED_PIXEL_ERROR, SHORTEST, EmbeddingMetric
from percert.search.ingest.tilted import tilt, tilted_size
from percert.search.tables.schema import ImageRow, StoreHeader

#: Where a crop lies: the share of the spare height and width that is above and left of it.
_PLACES = {
    "centre": (0.5, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (0.0, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom-right": (1.0, 1.0),
}
_SIDES = {
    "top": (0.0, 0.5),
    "left": (0.5, 0.0),
    "right": (0.5, 1.0),
    "bottom": (1.0, 0.5),
}


@dataclass(frozen=True)
class View:
    """A crop of ``keep`` of the height and ``wide`` of the width at a place, perhaps turned.

    ``wide`` defaults to ``keep``. What is cut out is tilted by ``tilt`` degrees, turned by
    ``turns`` quarters, both anticlockwise, and mirrored. ``asked`` names the view of a query that
    is compared with it. Called on an image.
    """

    name: str
    keep: float = 1.0
    down: float = 0.5
    across: float = 0.5
    mirrored: bool = False
    wide: float | None = None
    asked: str = "whole"
    tilt: float = 0.0
    turns: int = 0

    def __call__(self, image: Tensor) -> Tensor:
        """The view of ``(..., h, w)``: at least one pixel, without interpolation."""
        height, width = self._crop((image.shape[-2], image.shape[-1]))
        top = round(self.down * (image.shape[-2] - height))
        left = round(self.across * (image.shape[-1] - width))
        part = image[..., top : top + height, left : left + width]
        part = tilt(part, self.tilt) if self.tilt else part
        part = part.rot90(self.turns, (-2, -1)) if self.turns else part
        return part.flip(-1) if self.mirrored else part

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the view of an image of (height, width) ``size``.

        >>> find_view("centre-80").size((100, 60)), find_view("upper").size((100, 60))
        ((80, 48), (80, 60))
        """
        found = self._crop(size)
        found = tilted_size(found, self.tilt) if self.tilt else found
        return (found[1], found[0]) if self.turns % 2 else found

    def _crop(self, size: tuple[int, int]) -> tuple[int, int]:
        wide = self.keep if self.wide is None else self.wide
        return max(1, round(self.keep * size[0])), max(1, round(wide * size[1]))


def _crops(percent: int, places: dict[str, tuple[float, float]]) -> dict[str, View]:
    return {
        f"{place}-{percent}": View(f"{place}-{percent}", percent / 100, down, across)
        for place, (down, across) in places.items()
    }


#: Of query and stored image alike: without the lowest or the highest fifth, where captions are, and
#: without the margins, where borders are.
_BANDS = {
    "upper": View("upper", 0.8, 0.0, wide=1.0, asked="upper"),
    "lower": View("lower", 0.8, 1.0, wide=1.0, asked="lower"),
    "middle": View("middle", 0.72, asked="middle"),
}
#: Of what was turned, tilted or put into a border, or has only its middle left.
_TURNED = {
    **{f"turned-{90 * turns}": View(f"turned-{90 * turns}", turns=turns) for turns in (1, 2, 3)},
    "tilted-left": View("tilted-left", tilt=15.0),
    "tilted-right": View("tilted-right", tilt=-15.0),
}
_MIDDLES = {f"centre-{percent}": View(f"centre-{percent}", percent / 100) for percent in (60, 50)}
_BORDERED = {"bordered": View("bordered", asked="middle")}


def _all_views() -> dict[str, View]:
    plain = {"whole": View("whole"), **_crops(90, _PLACES), **_crops(80, _PLACES)}
    mirrored = {
        f"mirror-{name}": replace(view, name=f"mirror-{name}", mirrored=True)
        for name, view in plain.items()
    }
    sides = {**_crops(90, _SIDES), **_crops(80, _SIDES)}
    return {**plain, **sides, **_BANDS, **mirrored, **_MIDDLES, **_BORDERED, **_TURNED}


#: Every view by name.
VIEWS = _all_views()

_EIGHTY = (*_crops(80, _PLACES), *_crops(80, _SIDES))
_NINETY = (*_crops(90, _PLACES), *_crops(90, _SIDES))

#: Sets of views by name, chosen by what usual edits of photographs need: crops of 80 % serve those
#: down to 70 %, and the band without the lowest fifth captions. The last serves harder ones, too:
#: tilts of 5 to 20 degrees, quarter turns and upside down, borders, and crops of half around the
#: middle. More and smaller crops would find less: strangers resemble them.
VIEW_SETS: dict[str, tuple[str, ...]] = {
    "whole": ("whole",),
    "small": ("whole", *_BANDS),
    "standard": ("whole", "upper", *_EIGHTY),
    "thorough": ("whole", *_BANDS, *_EIGHTY, *_NINETY),
    "exhaustive": (
        *("whole", *_BANDS, *_EIGHTY, *_NINETY),
        *(*_MIDDLES, *_BORDERED, *_TURNED),
    ),
    "mirror": ("whole", "mirror-whole"),
}


def asked_views(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """For each view of a query that is needed, the indices of the stored views compared with it.

    >>> asked_views(("whole", "upper", "centre-80"))
    {'whole': (0, 2), 'upper': (1,)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for place, name in enumerate(names):
        asked = find_view(name).asked
        found[asked] = (*found.get(asked, ()), place)
    return found


def find_view(name: str) -> View:
    """The view called ``name``; ``ValueError`` lists the names there are."""
    if name not in VIEWS:
        raise ValueError(f"view: expected one of {', '.join(VIEWS)}, found {name!r}")
    return VIEWS[name]


def parse_views(text: str | Sequence[str]) -> tuple[str, ...]:
    """Names of views from a set's name, a list with commas, or a sequence; the whole first.

    Before each comes the view of a query that it is compared with, so that stored images can be
    compared with one another.

    >>> parse_views("centre-80,bordered")
    ('whole', 'centre-80', 'middle', 'bordered')
    >>> len(parse_views("standard"))
    11
    """
    if isinstance(text, str):
        if text in VIEW_SETS:
            return VIEW_SETS[text]
        text = [name.strip() for name in text.split(",")]
    for name in text:
        if name not in VIEWS:
            raise ValueError(
                f"views: expected one of the sets {', '.join(VIEW_SETS)}, or a list of "
                f"{', '.join(VIEWS)}; found {name!r}"
            )
    asked = [one for name in text for one in (find_view(name).asked, name)]
    return tuple(dict.fromkeys(("whole", *asked)))


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
    """How to prepare images for a store; small, so that workers need no network.

    ``bound`` is that of the network alone, and ``network_error`` its float error, ``None`` where
    that is not proven; ``precision`` is ``"float32"`` or ``"float64"``.
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
    """Cut the views of ``image`` ``(3, h, w)`` and resize each to the network's input."""
    precision: torch.dtype = getattr(torch, how.precision)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    parts = [find_view(name)(image[None]) for name in how.views]
    inputs = torch.cat([how.resize(part, dtype=precision) for part in parts]).numpy()
    bound, error = np.array(view_bounds(how, size)), np.array(view_errors(how, size))
    return Prepared(id, bytes, size, inputs, bound, error)


#: Views that a processor embeds at once: their layers fit its caches.
CACHED = 32


def embed_prepared(metric: EmbeddingMetric, prepared: Sequence[Prepared]) -> list[ImageRow]:
    """Embed all views of the ``prepared`` images, and return their rows.

    The same embeddings as ``metric.embed`` of each view, up to float rounding, which
    ``metric.float_error`` covers: a network rounds otherwise in a batch of another size.
    """
    if not prepared:
        return []
    inputs = torch.from_numpy(np.concatenate([one.inputs for one in prepared]))
    device = next((value.device for value in metric.buffers()), torch.device("cpu"))
    step = CACHED if device.type == "cpu" else len(inputs)
    with torch.inference_mode(), full_precision(device):
        parts = [metric.network(some.to(device)) for some in torch.split(inputs, step)]
    embeddings: Tensor = torch.cat(parts)
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

    As :func:`percert.certify.features.embed` has it; a view takes pixels as they are.
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
