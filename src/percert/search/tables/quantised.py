"""Rows in 8 bits, for products that read a quarter of the bytes, and what that moves them by.

Each row x has a scale, the largest of its values over 127, and is kept as whole numbers z with
x = scale z + error. How long the error is, in units of the scale, is measured; so is that of a
query. Products of whole numbers are exact, in whatever order they are summed.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = npt.NDArray[np.float64]
#: The largest whole number, and of two digits together.
LARGEST, BASE = 127, 128
#: No scale is smaller, so that its inverse is finite.
SMALLEST = 1e-30
#: Coordinates of a row that lie side by side: a cache line, for a processor to read ahead.
GROUP = 64
#: Rows that are converted at once where the processor multiplies no 8 bits.
AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Slice:
    """Some coordinates of m rows of length at most 1, in 8 bits, for upper bounds of products.

    ``values`` ``(g, m, s / g)`` int8, g groups of coordinates, times ``scale`` ``(m,)`` float32 are
    the coordinates; ``sides`` ``(c, m)`` float32 is what else a bound is a product of, last the
    length of the error at most.
    """

    values: Tensor
    scale: Tensor
    sides: Tensor

    @classmethod
    def empty(cls, rows: int, width: int, sides: int) -> "Slice":
        groups = width // GROUP if width % GROUP == 0 else 1
        values = torch.empty(groups, rows, width // groups, dtype=torch.int8)
        return cls(values, torch.empty(rows), torch.empty(sides, rows))

    @property
    def width(self) -> int:
        """How many coordinates these are."""
        return self.values.shape[0] * self.values.shape[2]

    def keep(self, values: Tensor) -> None:
        """Take over ``values`` ``(m, s)``."""
        self.values.copy_(values.view(len(values), len(self.values), -1).transpose(0, 1))

    def __getitem__(self, index: slice) -> "Slice":
        return Slice(self.values[:, index], self.scale[index], self.sides[:, index])

    def take(self, rows: Tensor) -> "Slice":
        """Those at the places ``rows``."""
        scale = self.scale.index_select(0, rows)
        return Slice(columns_at(self.values, rows), scale, columns_at(self.sides, rows))

    def of_view(self, place: int, views: int) -> "Slice":
        """Each image in one of its ``views`` alone; nothing is copied."""
        some = slice(place, None, views)
        return Slice(self.values[:, some], self.scale[some], self.sides[:, some])

    def products(self, columns: Tensor) -> Tensor:
        """``(m, n)`` products of the values with int8 ``columns`` ``(s, n)``.

        Exact, as int32; or float32 that is off by float rounding.
        """
        if len(self.values) == 1:
            return _whole_products(self.values[0], columns)
        if columns.shape[1] > BASE:
            rows = self.values.transpose(0, 1).reshape(-1, self.width)
            return _whole_products(rows, columns)
        found: Tensor | None = None
        for values, some in zip(
            self.values, columns.view(len(self.values), GROUP, -1), strict=True
        ):
            product = _whole_products(values, some)
            found = product if found is None else found.add_(product)
        assert found is not None
        return found


def quantise(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Float32 ``rows`` ``(m, s)`` as int8, the scale of each, and the length of its error at most.

    >>> values, scale, error = quantise(torch.tensor([[1.0, -0.5, 0.001]]))
    >>> values.tolist(), bool((error >= 0.001) & (error < 0.005))
    ([[127, -64, 0]], True)
    """
    scale = (rows.abs().amax(1) / LARGEST).clamp_min(SMALLEST)
    # Float32 rounds a value of 127 by 2^-17 here, in three operations.
    found = rows * (1 / scale)[:, None]
    values = found.round().clamp_(-LARGEST, LARGEST)
    moved = (found - values).norm(dim=1) * (1 + 1e-4) + 4e-5 * math.sqrt(rows.shape[1])
    return values.to(torch.int8), scale, moved * scale


def quantise_queries(
    rows: Numbers, *, exactly: bool = False
) -> tuple[npt.NDArray[np.int8], float, float]:
    """``rows`` ``(n, s)`` as int8 columns ``(s, n)``, their scale, and the longest error.

    A single one that is wanted ``exactly`` takes two digits, columns ``(s, 2)``: its error is a
    hundredth, and a product takes twice the time.
    """
    largest = LARGEST * BASE if exactly else LARGEST
    scale = float(np.abs(rows).max(initial=0.0)) / largest or 1.0
    whole = np.round(rows / scale)
    moved = rows - scale * whole
    error = math.sqrt(float(np.einsum("qs,qs->q", moved, moved).max(initial=0.0))) + 1e-12
    if exactly:
        high = np.round(whole / BASE)
        whole = np.concatenate([high, whole - BASE * high])
    return np.ascontiguousarray(whole.T.astype(np.int8)), scale, error


def columns_at(values: Tensor, index: Tensor) -> Tensor:
    """``values[:, index]``, of which PyTorch copies all first where they are not contiguous."""
    if values.is_contiguous():
        return values.index_select(1, index)
    found = values.new_empty(len(values), len(index), *values.shape[2:])
    for one, into in zip(values, found, strict=True):
        torch.index_select(one, 0, index, out=into)
    return found


def _whole_products(values: Tensor, columns: Tensor) -> Tensor:
    if multiplies_8_bits(columns.shape[0]):
        return _product(values, columns)
    wide = columns.float()
    return torch.cat([some.float() @ wide for some in torch.split(values, AT_ONCE)])


@functools.cache
def multiplies_8_bits(width: int) -> bool:
    """Whether this PyTorch multiplies int8 vectors of ``width`` values exactly on this processor.

    Processors without instructions for it may saturate sums of the largest products.
    """
    generator = torch.Generator().manual_seed(width)
    some = torch.randint(-LARGEST, LARGEST + 1, (64, width), generator=generator)
    rows = torch.cat([some, torch.full((1, width), LARGEST), torch.full((1, width), -LARGEST)])
    # One column, or two, may be multiplied by other instructions than many.
    return all(_exact(rows, rows[-count:].T) for count in (1, 2, 5))


def _exact(rows: Tensor, columns: Tensor) -> bool:
    """Whether products of whole numbers, kept in 8 bits, are what they should be."""
    try:
        found = _product(rows.to(torch.int8), columns.to(torch.int8))
    except (AttributeError, RuntimeError):
        return False
    return bool((found.long() == rows @ columns).all())


def _product(values: Tensor, columns: Tensor) -> Tensor:
    found: Tensor = torch._int_mm(values, columns.contiguous())
    return found
