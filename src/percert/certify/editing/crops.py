"""Every crop that keeps a share of each side, wherever it lies.

A crop is a box of whole pixels, so there are finitely many: of 299 x 299 pixels 216,225 keep 90 %
of each side. Each is resized from its own size, as a file of it would be: its input is S = R X C^T,
X the image and R and C the resizes of its rows and columns. How far all these lie from an anchor's
T takes no more than

    |S - T|^2 = |S|^2 - 2 <S, T> + |T|^2,  |S|^2 = <R^T R, N N^T>,  <S, T> = <R^T T, N>,

N = X C^T: products of what depends on the rows alone and on the columns alone; and R^T R is a
narrow band. That is far cheaper than to embed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.images.resize import resize_matrix
from percert.tensors import Features

#: The margins of a crop along one direction, in pixels: before it and behind it.
Margins = tuple[int, int]
#: How many values of a margin a block has to begin with.
SIDE = 6
#: What float64 may move a squared distance by, of the squared lengths that it is a difference of.
CANCELLED = 1e-9


@dataclass(frozen=True, eq=False)
class CropBlock:
    """All crops with margins ``rows`` and ``columns`` that ``open`` ``(n, m)`` still names.

    ``anchor`` is the row of each of the two that the anchor has.
    """

    rows: Sequence[Margins]
    columns: Sequence[Margins]
    open: Tensor
    anchor: tuple[int, int]


class _Line(NamedTuple):
    """One direction of a crop: its weights (outside, inside), their sums, and its squared length.

    ``half`` is R for the rows and N^T for the columns; ``band`` the diagonals of R^T R or N N^T.
    """

    half: Tensor
    sums: Tensor
    band: Tensor


class Crops:
    """The crops of ``picture`` ``(3, h, w)``, float64, that keep at least ``share`` of each side.

    Their margins are multiples of ``step`` pixels. Crops that keep at least ``known`` of each side
    are left out: of them it is known already.
    """

    def __init__(
        self,
        picture: Tensor,
        seen: NetworkInput,
        share: float,
        step: int = 1,
        known: float | None = None,
    ) -> None:
        self.seen, self.share, self.step, self.known = seen, share, step, known
        self.size = (picture.shape[1], picture.shape[2])
        # Weights sum to 1: a constant goes to itself, in every crop, and cancels in differences.
        self.constant = picture.mean((1, 2), keepdim=True)
        self.picture = picture - self.constant
        resize = seen.metric.resize
        self._band = max(
            int(np.count_nonzero(resize_matrix(n, m, resize.mode, resize.antialias), axis=1).max())
            for length, spare, m in zip(self.size, self.spare(share), resize.size, strict=True)
            for n in (length, length - spare)
        )
        self._row = lru_cache(1024)(self._make_row)
        self._column = lru_cache(128)(self._make_column)

    def spare(self, share: float) -> tuple[int, int]:
        """The most pixels that margins take from rows and columns, both ends together."""
        down, across = (
            int(side - np.ceil(share * side - 1e-9)) // self.step * self.step for side in self.size
        )
        return down, across

    @property
    def count(self) -> int:
        """How many crops there are, those that are known included."""
        down, across = (spare // self.step for spare in self.spare(self.share))
        return (down + 1) * (down + 2) * (across + 1) * (across + 2) // 4

    def start(self) -> list[CropBlock]:
        """All margins in blocks of a few values."""
        axes = [self._blocks(spare) for spare in self.spare(self.share)]
        known = (-1, -1) if self.known is None else self.spare(self.known)
        blocks = []
        # Rows change fastest: what is kept of columns is larger.
        for columns, rows in product(axes[1], axes[0]):
            inside = [
                torch.tensor([sum(pair) <= most for pair in pairs])
                for pairs, most in zip((rows, columns), known, strict=True)
            ]
            left = ~(inside[0][:, None] & inside[1])
            if bool(left.any()):
                blocks.append(_tight(rows, columns, left))
        return blocks

    def _blocks(self, spare: int) -> list[list[Margins]]:
        values = range(0, spare + 1, self.step)
        groups = [values[i : i + SIDE] for i in range(0, len(values), SIDE)]
        found = [
            [pair for pair in product(before, behind) if sum(pair) <= spare]
            for before, behind in product(groups, groups)
        ]
        return [pairs for pairs in found if pairs]

    def edit(self, block: CropBlock) -> tuple[float, ...]:
        """The anchor's margins: above, below, left and right."""
        row, column = block.anchor
        return (*map(float, block.rows[row]), *map(float, block.columns[column]))

    def norm(self, block: CropBlock) -> float:
        """The largest norm of a resize from one of the crops."""
        heights, widths = (
            {length - sum(pair) for pair in pairs}
            for length, pairs in zip(self.size, (block.rows, block.columns), strict=True)
        )
        resize = self.seen.metric.resize
        return max(resize.norm(size) for size in product(heights, widths))

    def anchors(self, blocks: list[CropBlock]) -> Features:
        """The network's inputs for the anchors."""
        return torch.stack([self._anchor(block) + self.constant for block in blocks])

    def _anchor(self, block: CropBlock) -> Tensor:
        row, column = block.anchor
        rows = self._weights(0, block.rows[row])
        return rows @ self.picture @ self._weights(1, block.columns[column]).T

    def _weights(self, axis: int, margins: Margins) -> Tensor:
        """The resize from a crop along one direction, as a matrix from all of the image."""
        resize = self.seen.metric.resize
        length, outside = self.size[axis], resize.size[axis]
        before, behind = margins
        found = torch.zeros(outside, length, dtype=torch.float64)
        inside = length - before - behind
        weights = resize_matrix(inside, outside, resize.mode, resize.antialias)
        found[:, before : length - behind] = torch.from_numpy(weights)
        return found

    def _make_row(self, margins: Margins) -> _Line:
        weights = self._weights(0, margins)
        return _Line(weights, weights.sum(0), self._diagonals(weights.T, twice=True))

    def _make_column(self, margins: Margins) -> _Line:
        weights = self._weights(1, margins)
        # (h, 3 W): all channels of a row of the image side by side.
        narrow = (self.picture @ weights.T).permute(1, 0, 2).flatten(1)
        sums = self.picture @ weights.sum(0)
        return _Line(narrow, sums, self._diagonals(narrow, twice=False))

    def _diagonals(self, lines: Tensor, *, twice: bool) -> Tensor:
        """The diagonals 0 ... of Y Y^T, those off the main one ``twice``, padded to one length."""
        length = lines.shape[0]
        found = lines.new_zeros(min(self._band, length), length)
        for step in range(len(found)):
            products = (lines[: length - step] * lines[step:]).sum(1)
            found[step, : length - step] = products * (2 if twice and step else 1)
        return found.flatten()

    def rest(self, block: CropBlock, anchor: Tensor, radius: float) -> list[CropBlock] | None:
        """The crops that are not within ``radius`` of the anchor's input, in two blocks."""
        left = block.open & (self.distances(block, anchor - self.constant) >= radius)
        if not bool(left.any()):
            return []
        if bool(left[block.anchor]):
            return None
        return _halved(block, left)

    def distances(self, block: CropBlock, anchor: Tensor) -> Tensor:
        """|P (S - T)| of all crops of a block, ``(n, m)``, from above; T is ``anchor``."""
        rows = [self._row(pair) for pair in block.rows]
        columns = [self._column(pair) for pair in block.columns]
        square = torch.stack([r.band for r in rows]) @ torch.stack([c.band for c in columns]).T
        # <S, T> = <R^T T, N>.
        flat = anchor.permute(1, 0, 2).flatten(1)
        weights = torch.cat([r.half for r in rows], dim=1).T.to_sparse()
        spread = torch.sparse.mm(weights, flat).view(len(rows), -1)
        inner = spread @ torch.stack([c.half.flatten() for c in columns]).T
        length = float(anchor.square().sum())
        found = square - 2 * inner + length
        error = CANCELLED * (square + length)
        if self.seen.blind_to_means:
            area = anchor.shape[1] * anchor.shape[2]
            sums = torch.einsum(
                "nh,mch->nmc",
                torch.stack([r.sums for r in rows]),
                torch.stack([c.sums for c in columns]),
            )
            found = found - (sums - anchor.sum((1, 2))).square().sum(2) / area
        distances: Tensor = (found + error).clamp_min(0).sqrt() * (1 + 1e-9)
        return distances


def _halved(block: CropBlock, left: Tensor) -> list[CropBlock]:
    """The crops in ``left`` ``(n, m)`` by the margin of which they have the widest range."""
    at = left.nonzero()
    margins = torch.cat(
        [
            torch.tensor(block.rows)[at[:, 0]],
            torch.tensor(block.columns)[at[:, 1]],
        ],
        dim=1,
    )
    low, high = margins.amin(0), margins.amax(0)
    widest = int((high - low).argmax())
    middle = (low[widest] + high[widest]) / 2
    parts = []
    for half in (margins[:, widest] <= middle, margins[:, widest] > middle):
        mask = torch.zeros_like(left)
        chosen = at[half]
        mask[chosen[:, 0], chosen[:, 1]] = True
        if len(chosen):
            parts.append(_tight(block.rows, block.columns, mask))
    return parts


def _tight(rows: Sequence[Margins], columns: Sequence[Margins], left: Tensor) -> CropBlock:
    """The block of these crops, without rows and columns of none; its anchor in the middle."""
    down, across = left.any(1).nonzero().flatten(), left.any(0).nonzero().flatten()
    rows, columns = [rows[i] for i in down.tolist()], [columns[i] for i in across.tolist()]
    left = left[down][:, across]
    at = left.nonzero()
    margins = torch.cat(
        [torch.tensor(rows)[at[:, 0]], torch.tensor(columns)[at[:, 1]]], dim=1
    ).double()
    nearest = at[(margins - margins.mean(0)).square().sum(1).argmin()].tolist()
    return CropBlock(rows, columns, left, (nearest[0], nearest[1]))
