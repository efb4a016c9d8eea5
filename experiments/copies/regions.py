"""The parts of a picture that copies.rules stores and asks for, by name."""

from dataclasses import dataclass

from torch import Tensor

#: The share of the spare height and width that is above and left of a crop.
PLACES = {
    "centre": (0.5, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (0.0, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom-right": (1.0, 1.0),
    "top": (0.0, 0.5),
    "left": (0.5, 0.0),
    "right": (0.5, 1.0),
    "bottom": (1.0, 0.5),
}


@dataclass(frozen=True)
class Region:
    """``high`` of the height and ``wide`` of the width at a place. Called on an image."""

    high: float
    wide: float
    down: float
    across: float

    def __call__(self, image: Tensor) -> Tensor:
        height, width = self.size((image.shape[-2], image.shape[-1]))
        top = round(self.down * (image.shape[-2] - height))
        left = round(self.across * (image.shape[-1] - width))
        return image[..., top : top + height, left : left + width]

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the part of an image of (height, width) ``size``."""
        return max(1, round(self.high * size[0])), max(1, round(self.wide * size[1]))


REGIONS = {
    "whole": Region(1.0, 1.0, 0.0, 0.0),
    "upper": Region(0.8, 1.0, 0.0, 0.5),
    "lower": Region(0.8, 1.0, 1.0, 0.5),
    "middle": Region(0.72, 0.72, 0.5, 0.5),
    **{
        f"{place}-{percent}": Region(percent / 100, percent / 100, *at)
        for percent in (90, 80)
        for place, at in PLACES.items()
    },
}


def find_region(name: str) -> Region:
    """The part called ``name``."""
    return REGIONS[name]
