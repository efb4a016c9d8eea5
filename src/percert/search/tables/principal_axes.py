"""Rows rotated onto principal axes, so that the prefilter reads few coordinates of each.

Let P' have orthonormal columns, and let rest(g) be the length of what P' leaves of g. By Cauchy and
Schwarz <q, g> <= <P'q, P'g> + rest(q) rest(g): a bound of a product with a row from its first
coordinates and one number more. Embeddings of photographs lie near few axes, and for nearly all
rows the first 32 of 1,024 tell that they are not near.

The axes held, P, are float32. Where |P^T P - 1| <= delta there are exact P' of the same span with
|P - P'| <= delta. What a matrix product in float32 of k terms rounds, over d coordinates together,
is at most sqrt(d) gamma_{k + 3} (Higham 2002, Section 3.1). Let e be the sum of both: the
coordinates a that are found are within e of P'g, so that |P'g| >= |a| - e, and the rest kept,
sqrt(|g|^2 - max(0, |a| - e)^2), is no shorter than the exact one. Coordinates are kept in 8 bits
(:mod:`percert.search.tables.quantised`); those of a slice are turned among themselves, so that none
is much larger than the others.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from percert.metrics.certified.embedding import SHORTEST
from percert.tensors import Embeddings

#: Where slices end, as shares of an embedding's width: the first tells copies from nearly all other
#: rows, and the last the nearest of a query, which lie among many.
CUTS = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
#: Rows that axes are fitted on.
SAMPLE = 4096
#: Axes that hold less than this share of rows (random ones: 0.7 of the sample) tell nothing.
LEAST_SHARE = 0.75
#: Rows that are turned at once.
TURNED = 4096
#: Norms outside of these are for float64 alone: whether the shortest have a direction, and products
#: of the greatest may overflow.
LEAST_NORM, GREATEST_NORM = 2 * SHORTEST, 1e30


@dataclass(frozen=True, eq=False)
class Axes:
    """Principal axes: float32 ``basis`` ``(k, d)``, orthonormal up to ``delta``, cut at ``cuts``.

    ``share`` is how much of the squared length of the rows that they were fitted on lies along
    them.
    """

    basis: Tensor
    delta: float
    cuts: tuple[int, ...]
    share: float

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """The axes of each slice, ``(k, s)``."""
        starts = (0, *self.cuts[:-1])
        return tuple(
            self.basis[:, start:end].contiguous()
            for start, end in zip(starts, self.cuts, strict=True)
        )

    def of_cuts(self, cuts: tuple[int, ...]) -> "Axes":
        """The axes up to the last of ``cuts``, in slices that end there."""
        return Axes(self.basis[:, : cuts[-1]].contiguous(), self.delta, cuts, self.share)

    def shorter(self) -> "Axes | None":
        """Without the last slice; ``None`` where that is all."""
        return self.of_cuts(self.cuts[:-1]) if len(self.cuts) > 1 else None

    @property
    def row_bytes(self) -> int:
        """Bytes of a row that is kept along them, in 8 bits: its values, scales and sides."""
        return self.cuts[-1] + 16 * len(self.cuts)

    def row_error(self) -> float:
        """e: how far the coordinates of a row of length 1 may be off."""
        width, axes = self.basis.shape
        u = torch.finfo(torch.float32).eps / 2
        terms = (width + 4) * u
        # What underflows, of rows of at least LEAST_NORM, is below any of the other terms.
        return self.delta + math.sqrt(axes) * terms / (1 - terms) + 1e-12


def ends_of(width: int, shares: tuple[float, ...]) -> tuple[int, ...]:
    """Where slices of embeddings of ``width`` values end."""
    return tuple(sorted({max(1, round(width * share)) for share in shares}))


def fit_axes(directions: Embeddings, cuts: tuple[float, ...] = CUTS) -> Axes:
    """The first axes of unit ``directions`` ``(m, k)``: eigenvectors of their second moment.

    Those of a slice are turned at random among themselves.

    >>> axes = fit_axes(torch.eye(64)[:8], cuts=(1 / 8,))
    >>> axes.basis.shape, axes.cuts, round(axes.share, 3)
    (torch.Size([64, 8]), (8,), 1.0)
    """
    width = directions.shape[1]
    ends = ends_of(width, cuts)
    moment = (directions.T @ directions).float()
    _, vectors = torch.linalg.eigh(moment)
    # Once more in float64, for axes that are orthonormal to the last digit of float32.
    exact, _ = torch.linalg.qr(vectors.flip(1)[:, : ends[-1]].double())
    generator = torch.Generator().manual_seed(0)
    for start, end in zip((0, *ends[:-1]), ends, strict=True):
        among = torch.randn(end - start, end - start, generator=generator, dtype=torch.float64)
        exact[:, start:end] @= torch.linalg.qr(among)[0]
    basis = exact.float()
    held = basis.double()
    delta = float((held.T @ held - torch.eye(ends[-1], dtype=torch.float64)).norm()) + 1e-12
    share = float((directions.double() @ held).square().sum() / max(1, len(directions)))
    return Axes(basis, delta, ends, share)
