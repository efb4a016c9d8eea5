"""Rows rotated onto principal axes, so that the prefilter reads few coordinates of each.

Let P' have orthonormal columns, and let rest(g) be the length of what P' leaves of g. By Cauchy and
Schwarz <q, g> <= <P'q, P'g> + rest(q) rest(g): a bound of a product with a row from its first
coordinates and one number more. Embeddings of photographs lie near few axes, and for nearly all
rows the first 32 of 1,024 tell that they are not near.

The axes held, P, are float32. Where |P^T P - 1| <= delta there are exact P' of the same span with
|P - P'| <= delta. What a matrix product in float32 of k terms rounds, over d coordinates together,
is at most sqrt(d) gamma_{k + 3} (Higham 2002, Section 3.1). Let e be the sum of both: the
coordinates a that are found are within e of P'g, so that |P'g| >= |a| - e, and the rest kept,
sqrt(|g|^2 - max(0, |a| - e)^2), is no shorter than the exact one. Coordinates kept as bfloat16 are
within 2^-9 |a| of a, and such a rest is rounded up.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from percert.metrics.certified.embedding import SHORTEST
from percert.tensors import Embeddings, Vector

#: Where slices end, as shares of an embedding's width: those in float32, which tell copies from all
#: other rows, and those in bfloat16 for the nearest of a query, which lie among many.
CUTS, COARSE_CUTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4), (127 / 512, 127 / 256)
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
    def wide(self) -> Tensor:
        """``basis`` in float64, for queries."""
        return self.basis.double()

    def of_cuts(self, cuts: tuple[int, ...]) -> "Axes":
        """The axes up to the last of ``cuts``, in slices that end there."""
        return Axes(self.basis[:, : cuts[-1]].contiguous(), self.delta, cuts, self.share)

    def shorter(self) -> "Axes":
        """Without the last slice."""
        return self.of_cuts(self.cuts[:-1])

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


def fit_axes(directions: Embeddings, cuts: tuple[float, ...] = (*CUTS, *COARSE_CUTS)) -> Axes:
    """The first axes of unit ``directions`` ``(m, k)``: eigenvectors of their second moment.

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
    basis = exact.float()
    held = basis.double()
    delta = float((held.T @ held - torch.eye(ends[-1], dtype=torch.float64)).norm()) + 1e-12
    share = float((directions.double() @ held).square().sum() / max(1, len(directions)))
    return Axes(basis, delta, ends, share)


@dataclass(frozen=True, eq=False)
class Turned:
    """Principal coordinates of the rows of a block, in ``slices`` ``(m, s)``, float32 or bfloat16.

    The first slice holds the coordinates up to the first cut, one more for the metric's constant,
    and the length of the rest behind the cut. Each later one has its coordinates, the rest before
    them and the rest behind: a product with the query's slice takes the bound from one to the next
    (:class:`percert.search.query.narrowing.Narrowing`). For the rows ``odd`` they are not valid.
    """

    axes: Axes
    slices: tuple[Tensor, ...]
    odd: Tensor

    def __len__(self) -> int:
        return len(self.slices[0])

    def of_view(self, place: int, views: int) -> "Turned":
        """Each image in one of its ``views`` alone; nothing is copied."""
        slices = tuple(one.view(-1, views, one.shape[1])[:, place] for one in self.slices)
        odd = self.odd[self.odd % views == place] // views
        return Turned(self.axes, slices, odd)


class Turning:
    """Projects the rows of a collection onto the axes, part by part, into memory allocated once.

    ``beside`` takes what is added as well, by the same product: its axes are the first of these.
    """

    def __init__(
        self,
        axes: Axes,
        rows: int,
        constant: float,
        dtype: torch.dtype = torch.float32,
        beside: "Turning | None" = None,
    ) -> None:
        self.axes, self.constant, self.rows, self.beside = axes, constant, rows, beside
        starts = (0, *axes.cuts[:-1])
        self.slices = tuple(
            torch.empty(rows, end - start + 2, dtype=dtype)
            for start, end in zip(starts, axes.cuts, strict=True)
        )
        self._dtype = dtype
        self._odd: list[Tensor] = []
        self._place = 0
        self._finite = True

    def add(self, embeddings: Embeddings, norms: Vector) -> None:
        """The next raw rows ``(m, k)`` float32, and |h| of each, float64."""
        for h, norm in zip(
            torch.split(embeddings, TURNED), torch.split(norms, TURNED), strict=True
        ):
            product = h @ self.axes.basis
            self._add(product, norm)
            if self.beside is not None:
                self.beside._add(product[:, : self.beside.axes.cuts[-1]], norm)

    def _add(self, product: Tensor, norms: Tensor) -> None:
        norm = torch.hypot(norms, torch.full_like(norms, self.constant))
        well = (norm >= LEAST_NORM) & (norm <= GREATEST_NORM)
        inverse = torch.where(well, 1 / norm, 0.0)
        # What the constant adds is a coordinate of its own, and no part of the rest.
        length = (norms * inverse).square() * (1 + 1e-9)
        turned = product * inverse.float()[:, None]
        if not bool(well.all()):
            turned[~well] = 0.0  # not a product: what is not finite stays so
            place = self._place + well.logical_not().nonzero()[:, 0]
            self._odd.append(place)
        self._finite = self._finite and bool(turned.isfinite().all())
        some = slice(self._place, self._place + len(product))
        rests = rests_behind(turned, self.axes.cuts, length, self.axes.row_error())
        start, before = 0, None
        for end, rest, kept in zip(self.axes.cuts, rests, self.slices, strict=True):
            kept[some, : end - start] = turned[:, start:end]
            kept[some, -2] = inverse * self.constant if before is None else before
            start, before = end, rounded_up(rest, self._dtype)
            kept[some, -1] = before
        self._place += len(product)

    def done(self) -> Turned | None:
        """All that was added; ``None`` where a row is not finite, which a query reports."""
        if not self.rows or not self._finite:
            return None
        odd = torch.cat(self._odd) if self._odd else torch.zeros(0, dtype=torch.long)
        return Turned(self.axes, self.slices, odd)


def rounded_up(rests: Vector, dtype: torch.dtype) -> Tensor:
    """Float32 ``rests`` in ``dtype``, none of them shorter."""
    return rests if dtype == torch.float32 else (rests * (1 + 2.0**-8)).to(dtype)


def rests_behind(
    turned: Tensor, cuts: tuple[int, ...], length: Vector, error: float
) -> tuple[Vector, ...]:
    """Upper bounds, float32, of the length of what lies behind each cut.

    Of rows with coordinates ``turned`` ``(m, d)``, each row off by ``error`` at most, and squared
    lengths ``length`` ``(m,)``.
    """
    parts = torch.split(
        turned, [end - start for start, end in zip((0, *cuts), cuts, strict=False)], 1
    )
    square = torch.stack([part.double().square().sum(1) for part in parts]).cumsum(0)
    known = (square.sqrt() * (1 - 1e-9) - error).clamp_min(0).square()
    rests = (length - known).clamp_min(0).sqrt() * (1 + 1e-6) + 1e-9
    return rests.float().unbind()
