"""Views of a stored image: the whole, and crops and mirror images of it that a copy may show.

A crop or a mirror image is a linear map of norm at most 1, so the bound of a view is the metric's
bound at the size of the view. A query is compared with every view; what is proven of a query that
is tampered with does not depend on how the stored embeddings came about (CERTIFICATES, "Several
views").
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

#: Where a crop lies: the share of the spare height and width that is above and left of it.
_PLACES = {
    "centre": (0.5, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (0.0, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True)
class View:
    """``keep`` of each side at a place, perhaps mirrored left to right. Called on an image."""

    name: str
    keep: float = 1.0
    down: float = 0.5
    across: float = 0.5
    mirrored: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """The view of ``(..., h, w)``: at least one pixel, without interpolation."""
        height, width = self.size((image.shape[-2], image.shape[-1]))
        top = round(self.down * (image.shape[-2] - height))
        left = round(self.across * (image.shape[-1] - width))
        part = image[..., top : top + height, left : left + width]
        return part.flip(-1) if self.mirrored else part

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the view of an image of (height, width) ``size``.

        >>> find_view("centre-80").size((100, 60))
        (80, 48)
        """
        return max(1, round(self.keep * size[0])), max(1, round(self.keep * size[1]))


def _crops(percent: int) -> dict[str, View]:
    return {
        f"{place}-{percent}": View(f"{place}-{percent}", percent / 100, down, across)
        for place, (down, across) in _PLACES.items()
    }


def _all_views() -> dict[str, View]:
    plain = {"whole": View("whole"), **_crops(90), **_crops(80)}
    mirrored = {
        f"mirror-{name}": View(f"mirror-{name}", view.keep, view.down, view.across, True)
        for name, view in plain.items()
    }
    return {**plain, **mirrored}


#: Every view by name.
VIEWS = _all_views()

_WHOLE = ("whole",)
_CROPPED = tuple(name for name in VIEWS if not name.startswith("mirror-"))

#: Sets of views by name. Crops of 80 % serve those down to 70 % and of 90 % nearly as well as ten
#: of them do (benchmarks/index_views.py), and lipsim-tiny needs no mirror images.
VIEW_SETS: dict[str, tuple[str, ...]] = {
    "whole": _WHOLE,
    "standard": ("whole", *_crops(80)),
    "crops": _CROPPED,
    "mirror": ("whole", "mirror-whole"),
    "all": tuple(VIEWS),
}


def find_view(name: str) -> View:
    """The view called ``name``; ``ValueError`` lists the names there are."""
    if name not in VIEWS:
        raise ValueError(f"view: expected one of {', '.join(VIEWS)}, found {name!r}")
    return VIEWS[name]


def parse_views(text: str | Sequence[str]) -> tuple[str, ...]:
    """Names of views from a set's name, a list with commas, or a sequence; the whole first.

    >>> parse_views("centre-80,mirror-whole")
    ('whole', 'centre-80', 'mirror-whole')
    >>> len(parse_views("crops"))
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
    return tuple(dict.fromkeys(("whole", *text)))
