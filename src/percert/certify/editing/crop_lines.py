"""Crops along one axis: all margins that they can have, and the resize of each.

The resize of a crop is a matrix with a few adjacent weights in each row. So for two crops close to
each other R^T R_0, with the entries sum_y R[y, i] R_0[y, j], is a band around the diagonal, and its
inner product with another matrix reads only that band.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.device import full_precision
from percert.images.resize import Matrix, Resize, resize_matrix

#: The margins of a crop along one direction, in pixels: before it and behind it.
Margins = tuple[int, int]


def margins_of(spare: int, step: int) -> list[Margins]:
    """All margins that are multiples of ``step`` and together at most ``spare`` pixels."""
    return [
        (before, behind)
        for before in range(0, spare + 1, step)
        for behind in range(0, spare - before + 1, step)
    ]


class Line:
    """The resizes to ``outside`` pixels of all crops of a line of ``side`` pixels.

    ``lost`` ``(n,)`` is the number of pixels that the two ``margins`` of each crop remove.
    ``first`` ``(n, outside)`` is where the weights of each row begin, ``weights`` ``(n, outside,
    width)`` are those.
    """

    def __init__(self, side: int, outside: int, resize: Resize, margins: list[Margins]) -> None:
        self.side, self.outside, self.margins = side, outside, margins
        self.lost = torch.tensor([before + behind for before, behind in self.margins])
        lengths = sorted(set(self.lost.tolist()))
        by_length = {
            lost: _compressed(resize_matrix(side - lost, outside, resize.mode, resize.antialias))
            for lost in lengths
        }
        self.width = max(weights.shape[1] for _, weights in by_length.values())
        self.first = torch.empty(len(self.margins), outside, dtype=torch.long)
        self.weights = torch.zeros(len(self.margins), outside, self.width, dtype=torch.float64)
        for row, (before, behind) in enumerate(self.margins):
            first, weights = by_length[before + behind]
            # A window that would leave the line begins earlier.
            at = (first + before).clamp_max(side - self.width)
            columns = (first + before - at)[:, None] + torch.arange(weights.shape[1])
            self.first[row] = at
            # Zeros behind the last weight may not lie beyond the window.
            kept = columns < self.width
            lines = torch.arange(outside)[:, None].expand_as(columns)
            self.weights[row, lines[kept], columns[kept]] = weights[kept]

    def dense(self, row: int) -> Tensor:
        """The resize from one crop as a matrix ``(outside, side)`` from all of the line."""
        found = torch.zeros(self.first.shape[1], self.side, dtype=torch.float64)
        return found.scatter_(
            1, self.first[row][:, None] + torch.arange(self.width), self.weights[row]
        )

    def sums(self, *, absolute: bool = False) -> Tensor:
        """The column sums of the resize from each, or of its absolute weights, ``(n, side)``."""
        found = torch.zeros(len(self.margins), self.side, dtype=torch.float64)
        at = (self.first[..., None] + torch.arange(self.width)).flatten(1)
        weights = self.weights.abs() if absolute else self.weights
        return found.scatter_add_(1, at, weights.flatten(1))


def _compressed(matrix: Matrix) -> tuple[Tensor, Tensor]:
    """Where the weights of each row begin, and those from there on, as many as any row has."""
    found = torch.from_numpy(matrix)
    used = found != 0
    first = used.long().argmax(1)
    last = found.shape[1] - 1 - used.flip(1).long().argmax(1)
    width = int((last - first).max()) + 1
    columns = first[:, None] + torch.arange(width)
    weights = found.gather(1, columns.clamp_max(found.shape[1] - 1))
    weights[columns >= found.shape[1]] = 0
    return first, weights


class Gram:
    """<R^T R_0, N N_0^T> for resizes R and R_0 of ``line`` and matrices N and N_0 ``(side, k)``."""

    def __init__(self, line: Line) -> None:
        self.line = line
        #: How far off the diagonal entries are looked at: up to twice a weight's width of a move.
        self.off = 3 * line.width
        self.window = 2 * self.off + 1

    def reaches(self, row: int) -> Tensor:
        """For which R the product with R_0, that of ``row``, stays within the band."""
        moved = (self.line.first - self.line.first[row]).abs().amax(1)
        return moved + self.line.width - 1 <= self.off

    def products(self, some: Tensor, one: Tensor) -> Tensor:
        """The entries of N N_0^T near the diagonal, ``(entries, n)``, of ``(n, side, k)``.

        ``one`` is N_0, ``(side, k)``. In the precision of both.
        """
        wide = F.pad(one, (0, 0, self.off, self.off))
        side, k = one.shape
        # Row i of N meets rows i - off to i + off of N_0.
        around = wide.as_strided((side, self.window, k), (k, k, 1))
        with full_precision(one.device):
            return torch.bmm(around, some.permute(1, 2, 0)).flatten(0, 1)

    def inner(self, rows: Tensor, others: Tensor, products: Tensor) -> Tensor:
        """<R^T R_0, N N_0^T> for R of ``rows``, R_0 of ``others`` or one for all: ``(r, n)``."""
        line, steps = self.line, torch.arange(self.line.width)
        i = (line.first[rows][..., None] + steps)[..., None]
        j = (line.first[others][..., None] + steps)[..., None, :]
        at = i * self.window + j - i + self.off
        weights = line.weights[rows][..., None] * line.weights[others][..., None, :]
        return F.embedding_bag(
            at.flatten(1), products, per_sample_weights=weights.flatten(1), mode="sum"
        )

    def spread(self, squares: Tensor) -> Tensor:
        """Bounds of the sum over y of (sum over i of abs(R[y, i]) n_i)^2, ``(rows, n)``.

        ``squares`` ``(n, side)`` are the n_i^2. By Cauchy and Schwarz, with the largest sum of
        absolute weights of a line of R.
        """
        line = self.line
        return float(line.weights.abs().sum(2).max()) * (line.sums(absolute=True) @ squares.T)
