"""Rotation and zoom about the centre, bilinear, the border's pixels repeated beyond it.

Along its path a pixel reads the image at a moving place. Between pixel centres the interpolated
image is bilinear, so the slope that the pixel sees lies between the least and the largest
difference of neighbours that its place touches. A function whose slopes lie in [m, M] leaves the
line between its ends, l apart, by at most (M - m) l / 4.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.tensors import Features

#: The farthest that a pixel's place may move between two values, in pixels: slopes are looked up
#: in the four cells around the corner that is nearest to the middle.
FARTHEST = 1.0
#: Pixels that are repeated around the image; farther out, places are moved back to them.
REACH = 2


@dataclass(frozen=True)
class Warp:
    """The image ``(3, h, w)``, float64, turned by t degrees or enlarged t times, same size."""

    picture: Tensor
    kind: Literal["rotation", "zoom"]
    seen: NetworkInput

    @cached_property
    def _offsets(self) -> tuple[Tensor, Tensor]:
        """Each pixel's centre from that of the image: across and down."""
        _, height, width = self.picture.shape
        down = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
        across = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        return across.expand(height, width), down[:, None].expand(height, width)

    @cached_property
    def radius(self) -> float:
        """Of the farthest pixel from the centre."""
        _, height, width = self.picture.shape
        return math.hypot(height - 1, width - 1) / 2

    def _places(self, t: float) -> tuple[Tensor, Tensor]:
        """Where each pixel reads, from the centre."""
        x, y = self._offsets
        if self.kind == "zoom":
            return x / t, y / t
        c, s = math.cos(math.radians(t)), math.sin(math.radians(t))
        return c * x - s * y, s * x + c * y

    def _read(self, maps: Tensor, t: float, mode: str) -> Tensor:
        """``(k, h, w)`` at the places of t, of maps around the same centre."""
        _, height, width = maps.shape
        x, y = self._places(t)
        # In units of half the map, from its middle, as grid_sample has it; at least one pixel.
        grid = torch.stack([x / max((width - 1) / 2, 0.5), y / max((height - 1) / 2, 0.5)], dim=-1)
        found = F.grid_sample(
            maps[None],
            grid[None].to(maps.dtype),
            mode=mode,
            padding_mode="border",
            align_corners=True,
        )
        return found[0]

    def image(self, t: float) -> Tensor:
        """The edited image, ``(3, h, w)``."""
        return self._read(self.picture, t, "bilinear")

    def inputs(self, values: list[float]) -> Features:
        """What the network sees of the image at each of ``values``."""
        return self.seen.resized(torch.stack([self.image(t) for t in values]))

    @cached_property
    def _slopes(self) -> Tensor:
        """By the corner: the range of differences across and down, and the largest sizes' sum.

        ``(9, h + 4, w + 4)``, of the image with two pixels repeated around it.
        """
        found = F.pad(self.picture[None], (REACH,) * 4, mode="replicate")[0]
        ranges, sizes = [], []
        # Around corner (i, j): rows i - 1 to i + 1, and the differences left and right of j.
        for differences, window in ((found.diff(dim=2), (3, 2)), (found.diff(dim=1), (2, 3))):
            wide = F.pad(differences[None], (1, 1, 1, 1), mode="replicate")
            most = F.max_pool2d(wide, window, 1)[0]
            least = -F.max_pool2d(-wide, window, 1)[0]
            ranges.append(most - least)
            sizes.append(torch.maximum(most, -least))
        return torch.cat([*ranges, sizes[0] + sizes[1]])

    def bent(self, a: float, b: float) -> Tensor | None:
        """How far each pixel leaves the line between its values at a and b; None: too far apart."""
        rotates = self.kind == "rotation"
        # Zoom is walked in 1 / t, in which places move straight.
        length = math.radians(abs(b - a)) if rotates else abs(1 / b - 1 / a)
        if self.radius * length > FARTHEST:
            return None
        middle = (a + b) / 2 if rotates else 2 / (1 / a + 1 / b)
        found = self._read(self._slopes, middle, "nearest")
        x_range, y_range, sizes = found[:3], found[3:6], found[6:]
        x, y = self._offsets
        if not rotates:
            return (x.abs() * x_range + y.abs() * y_range) * (length / 4)
        # A place moves at right angles to where it is, and its direction turns by length / 2
        # either way.
        x, y = self._places(middle)
        turned = torch.hypot(x, y) * length * sizes
        return (y.abs() * x_range + x.abs() * y_range + turned) * (length / 4)

    def remainder(self, a: float, b: float) -> float:
        """How far the network's input leaves the straight line between those at a and b."""
        gap = self.bent(a, b)
        return math.inf if gap is None else float(self.seen.covered(gap[None]))


def rotation(image: Tensor, seen: NetworkInput) -> Warp:
    """Turned by t degrees, anticlockwise."""
    return Warp(image, "rotation", seen)


def zoom(image: Tensor, seen: NetworkInput) -> Warp:
    """Enlarged t times about the centre, at the same size."""
    return Warp(image, "zoom", seen)
