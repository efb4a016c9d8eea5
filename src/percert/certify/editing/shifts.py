"""All shifts of an image within a box; border pixels are repeated where the image leaves.

A shift by whole pixels moves them; any other is a bilinear mean of its four neighbours. So within a
cell between whole shifts the image is linear in each direction, and every shift of a block, of
whole cells or of a part of one, is a mean of the corners of a cell or of that part: it lies no
farther from any point than the farthest of them.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.images.resize import resize_matrix
from percert.tensors import Features

#: Down from, down to, across from, across to, in pixels: whole ones where it is larger than one.
Block = tuple[float, float, float, float]
#: Pixels a side of a block to begin with, and of one that is not split any more.
SIDE, LEAST = 8, 1 / 32


def shifted(image: Tensor, down: float, across: float) -> Tensor:
    """``(3, h, w)`` moved ``down`` and ``across`` (to the right) by so many pixels.

    >>> shifted(torch.eye(3).expand(3, 3, 3), 0.5, 0)[0]
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])
    """
    _, height, width = image.shape
    rows, columns = _shift(height, down), _shift(width, across)
    return (rows.to(image) @ image @ columns.T.to(image)).clamp(0, 1)


def _shift(length: int, by: float) -> Tensor:
    """The matrix that moves a line of ``length`` pixels by ``by``."""
    whole = math.floor(by)
    part = by - whole
    found = torch.zeros(length, length, dtype=torch.float64)
    rows = torch.arange(length)
    for step, weight in ((whole, 1 - part), (whole + 1, part)):
        at = (rows - step).clamp(0, length - 1)
        found[rows, at] += weight
    return found


class Shifts:
    """Every shift of ``picture`` ``(3, h, w)``, float64, by up to ``most`` whole pixels.

    Those by up to ``known`` in each direction are left out, since they are proven already.
    """

    def __init__(self, picture: Tensor, seen: NetworkInput, most: int, known: int = 0) -> None:
        self.picture, self.seen, self.most, self.known = picture, seen, most, known
        height, width = picture.shape[1:]
        resize = seen.metric.resize
        rows, columns = (
            torch.from_numpy(resize_matrix(inside, outside, resize.mode, resize.antialias))
            for inside, outside in zip((height, width), resize.size, strict=True)
        )
        self._down = lru_cache(None)(lambda by: rows @ _shift(height, by) @ picture)
        self._across = lru_cache(None)(lambda by: (columns @ _shift(width, by)).T)

    def start(self) -> list[Block]:
        """The box in blocks of a few pixels a side."""
        known = {-self.known, self.known} if self.known else set()
        edges = sorted({*range(-self.most, self.most, SIDE), self.most} | known)
        sides = list(pairwise(edges))
        found = [(*rows, *columns) for rows in sides for columns in sides]
        return [block for block in found if max(map(abs, block)) > self.known]

    def edit(self, block: Block) -> tuple[float, ...]:
        """The shift in the middle, down and across."""
        top, bottom, left, right = block
        return _middle(top, bottom), _middle(left, right)

    def inputs(self, blocks: list[Block]) -> Features:
        """The network's input for the shift in the middle of each block."""
        return torch.stack([self._input(*self.edit(block)) for block in blocks])

    def _input(self, down: float, across: float) -> Tensor:
        return _between(self._down, down) @ _between(self._across, across)

    def rest(self, block: Block, radius: float) -> list[Block] | None:
        """Nothing where the ball holds the corners of all cells of the block, else its halves."""
        top, bottom, left, right = block
        anchor = self.inputs([block])[0]
        columns = torch.cat([_between(self._across, x) for x in _lines(left, right)], dim=1)
        # The block's own corners first, which are the farthest as a rule.
        for down in sorted(_lines(top, bottom), key=lambda y: -abs(y - (top + bottom) / 2)):
            line = _between(self._down, down) @ columns
            inputs = torch.stack(torch.split(line, anchor.shape[2], dim=2))
            if not bool(self.seen.length(inputs - anchor).max() < radius * (1 - 1e-9)):
                return _halves(block)
        return []


def _middle(low: float, high: float) -> float:
    """Whole where the two are whole pixels apart, so that halves are cells and parts of one."""
    return (low + high) / 2 if high - low <= 1 else math.floor((low + high) / 2)


def _lines(low: float, high: float) -> list[float]:
    """The ends, and the whole pixels between: what lies between two of them is one cell's."""
    return [low, *range(math.floor(low) + 1, math.ceil(high)), high]


def _between(made: Callable[[int], Tensor], by: float) -> Tensor:
    """What is ``made`` of whole shifts, of one by parts of a pixel: it is linear in that part."""
    whole = math.floor(by)
    part = by - whole
    return torch.lerp(made(whole), made(whole + 1), part) if part else made(whole)


def _halves(block: Block) -> list[Block] | None:
    """Across the longer side."""
    top, bottom, left, right = block
    if max(bottom - top, right - left) <= LEAST:
        return None
    if bottom - top >= right - left:
        middle = _middle(top, bottom)
        return [(top, middle, left, right), (middle, bottom, left, right)]
    middle = _middle(left, right)
    return [(top, bottom, left, middle), (top, bottom, middle, right)]
