"""All shifts of an image within a box; border pixels are repeated where the image leaves.

A shift by whole pixels moves them; any other is a bilinear mean of its four neighbours, so it lies
no farther from any point than the farthest of these. Only whole shifts have to be looked at.
"""

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.images.resize import resize_matrix
from percert.tensors import Features

#: Down from, down to, across from, across to; in whole pixels.
Cells = tuple[int, int, int, int]
#: Cells a side of a block to begin with.
SIDE = 8


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
    whole = int(torch.tensor(by).floor())
    part = by - whole
    found = torch.zeros(length, length, dtype=torch.float64)
    rows = torch.arange(length)
    for step, weight in ((whole, 1 - part), (whole + 1, part)):
        at = (rows - step).clamp(0, length - 1)
        found[rows, at] += weight
    return found


class Shifts:
    """Every shift of ``picture`` ``(3, h, w)``, float64, by up to ``most`` whole pixels."""

    def __init__(self, picture: Tensor, seen: NetworkInput, most: int) -> None:
        self.picture, self.seen, self.most = picture, seen, most
        self._rows = lru_cache(None)(self._down)
        self._columns = lru_cache(None)(self._across)

    def _down(self, by: int) -> Tensor:
        return self._resize(0) @ _shift(self.picture.shape[1], by) @ self.picture

    def _across(self, by: int) -> Tensor:
        return (self._resize(1) @ _shift(self.picture.shape[2], by)).T

    def _resize(self, axis: int) -> Tensor:
        resize = self.seen.metric.resize
        inside, outside = self.picture.shape[1 + axis], resize.size[axis]
        return torch.from_numpy(resize_matrix(inside, outside, resize.mode, resize.antialias))

    def start(self) -> list[Cells]:
        """The box in blocks of a few cells a side."""
        edges = [*range(-self.most, self.most, SIDE), self.most]
        sides = list(pairwise(edges))
        return [(*rows, *columns) for rows in sides for columns in sides]

    def edit(self, block: Cells) -> tuple[float, ...]:
        """The shift in the middle, whole pixels down and across."""
        top, bottom, left, right = block
        return (top + bottom) // 2, (left + right) // 2

    def inputs(self, blocks: list[Cells]) -> Features:
        """The network's input for the shift in the middle of each block."""
        return torch.stack([self._input(*map(int, self.edit(block))) for block in blocks])

    def _input(self, down: int, across: int) -> Tensor:
        return self._rows(down) @ self._columns(across)

    def rest(self, block: Cells, radius: float) -> list[Cells] | None:
        """Nothing where all whole shifts of the block lie within the ball, else its halves."""
        top, bottom, left, right = block
        anchor = self.inputs([block])[0]
        near = radius * (1 - 1e-9)
        corners = [(top, left), (top, right), (bottom, left), (bottom, right)]
        held = self._near(corners, anchor, near)
        columns = [self._columns(across) for across in range(left, right + 1)]
        for down in range(top, bottom + 1):
            if not held:
                break
            line = self._rows(down) @ torch.cat(columns, dim=1)
            inputs = torch.stack(torch.split(line, anchor.shape[2], dim=2))
            held = bool(self.seen.length(inputs - anchor).max() < near)
        return [] if held else _halves(block)

    def _near(self, shifts: list[tuple[int, int]], anchor: Tensor, within: float) -> bool:
        inputs = torch.stack([self._input(*shift) for shift in shifts])
        return bool(self.seen.length(inputs - anchor).max() < within)


def _halves(block: Cells) -> list[Cells] | None:
    """Across the longer side; nothing is smaller than one cell."""
    top, bottom, left, right = block
    if max(bottom - top, right - left) == 1:
        return None
    if bottom - top >= right - left:
        middle = (top + bottom) // 2
        return [(top, middle, left, right), (middle, bottom, left, right)]
    middle = (left + right) // 2
    return [(top, bottom, left, middle), (top, bottom, middle, right)]
