"""Rotation combined with brightness: any angle of a range with any factor of another.

y = clip(t z(angle)). Before clipping that is linear in t, and in the angle up to a bounded bend, so
it lies within that bend of the mean of its four corners; clipping moves it away from the mean of
the four clipped corners as it does for one colour (:mod:`colour`).
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from percert.certify.editing.colour import clip_gap
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.warps import FARTHEST, rotation
from percert.tensors import Features

#: Angles from and to, in degrees, and factors from and to.
Turned = tuple[float, float, float, float]


class TurnedBrightness:
    """The blocks of angles and factors in ``box``, for ``picture`` ``(3, h, w)``, float64."""

    def __init__(self, picture: Tensor, seen: NetworkInput, box: Turned) -> None:
        self.picture, self.seen, self.box = picture, seen, box
        self._warp = rotation(picture, seen)
        image = lru_cache(64)(self._warp.image)

        def resized(angle: float, factor: float) -> Tensor:
            return seen.resized((factor * image(angle)).clamp(0, 1)[None])[0]

        self._image, self._input = image, lru_cache(4096)(resized)

    def start(self) -> list[Turned]:
        """As many angles as it takes to move no pixel by more than one, and a few factors."""
        low, high, least, most = self.box
        turns = max(
            1, math.ceil(math.radians(high - low) * self._warp.radius / FARTHEST * (1 + 1e-9))
        )
        steps = max(1, math.ceil((most - least) / 0.1))
        angles = [low + (high - low) * i / turns for i in range(turns)] + [high]
        factors = [least + (most - least) * i / steps for i in range(steps)] + [most]
        return [(a, b, c, d) for a, b in pairwise(angles) for c, d in pairwise(factors)]

    def edit(self, block: Turned) -> tuple[float, ...]:
        """The angle and the factor in the middle."""
        return (block[0] + block[1]) / 2, (block[2] + block[3]) / 2

    def inputs(self, blocks: list[Turned]) -> Features:
        """The network's input for the edit in the middle of each block."""
        return torch.stack([self._input(*self.edit(block)) for block in blocks])

    def rest(self, block: Turned, radius: float) -> list[Turned] | None:
        """Nothing where the whole block lies within the ball, else its halves."""
        return [] if self._farthest(block, radius) < radius else self._halves(block)

    def _farthest(self, block: Turned, within: float) -> float:
        """The distance of the farthest corner, and how far images bend between the corners."""
        a, b, c, d = block
        anchor = self._input(*self.edit(block))
        corners = [(angle, factor) for angle in (a, b) for factor in (c, d)]
        inputs = torch.stack([self._input(*corner) for corner in corners])
        farthest = float(self.seen.length(inputs - anchor).max())
        if farthest >= within:
            return within
        raw = torch.stack([factor * self._image(angle) for angle, factor in corners])
        bent = self._warp.bent(a, b)
        if bent is None:
            return math.inf
        gap = float(self.seen.covered((clip_gap(raw) + d * bent)[None]))
        return (farthest + gap) * (1 + 1e-9)

    def _halves(self, block: Turned) -> list[Turned] | None:
        """Halves of the angle or of the factor, whichever moves the image more."""
        a, b, c, d = block
        first = self._input(a, c)
        turned, brighter = (self._input(*corner) - first for corner in ((b, c), (a, d)))
        moved = self.seen.length(torch.stack([turned, brighter]))
        if max(b - a, d - c) < 1e-3:
            return None
        if moved[0] >= moved[1]:
            middle = (a + b) / 2
            return [(a, middle, c, d), (middle, b, c, d)]
        middle = (c + d) / 2
        return [(a, b, c, middle), (a, b, middle, d)]
