"""The prefilter by principal coordinates: upper bounds of products, refined slice by slice.

The first coordinates of a row along principal axes bound its product with a query
(:mod:`percert.search.tables.principal_axes`), and each further slice of coordinates makes the bound
tighter. Rows whose bound is too small are dropped. A slice is read whole while many rows are left,
then for these alone; if too many are left at the end, a full product is faster and is used instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.search.query.distances import Queries
from percert.search.query.halves import ROUNDED
from percert.search.tables.principal_axes import Axes, Turned, rests_behind, rounded_up
from percert.tensors import Vector

#: Rows are scanned in groups of this size, by the maximum of each group.
TOGETHER = 32
#: While more than this share of the rows is left, a slice is read whole. With several queries, one
#: pair costs more than one entry of a matrix product.
READ_ALL, READ_ALL_OF_MANY = 1 / 4, 1 / 24
#: In half precision a row on its own costs little more than one in a product; and where so many
#: times more rows are left than are asked for, the nearest of them are looked at once more.
READ_ALL_COARSE, AGAIN = 1 / 2, 16


@dataclass(frozen=True, eq=False)
class Left:
    """The p (query, row) pairs that remain, with an upper ``bound`` of each product."""

    query: Tensor
    row: Tensor
    bound: Tensor


class Narrowing:
    """Queries projected onto ``axes``, to bound their products with rows along the same axes.

    With ``dtype`` bfloat16, of a single query and rows that are kept so: both move by 2^-9 of
    their length at most, and their product by 2^-8 of 1 and a little.
    """

    def __init__(self, axes: Axes, queries: Queries, dtype: torch.dtype = torch.float32) -> None:
        h = queries.h.double().cpu()
        if dtype == torch.float32:
            turned = (h @ axes.wide).float()
            # Float64, rounded to float32, along axes that are not quite orthonormal.
            error = axes.delta + 2.0**-23 + 1e-12
        else:
            turned, error = h.float() @ axes.basis, axes.row_error()
        length = h.square().sum(1) * (1 + 1e-9)
        vectors, start, before = [], 0, None
        for end, rest in zip(
            axes.cuts, rests_behind(turned, axes.cuts, length, error), strict=True
        ):
            first = queries.last.cpu().float() if before is None else -before
            behind = rounded_up(rest, dtype)
            columns = turned[:, start:end], first[:, None], behind[:, None]
            vectors.append(torch.cat([column.to(dtype) for column in columns], 1))
            start, before = end, behind
        self.axes, self.dtype, self.vectors = axes, dtype, tuple(vectors)
        # A slice adds at most 4 to the sum of what is rounded: its coordinates, and three rests.
        terms = (axes.cuts[-1] + 2 * len(axes.cuts) + 8) * 2.0**-24
        rounding = 4 * len(axes.cuts) * terms / (1 - terms)
        #: How far a computed bound may be below the exact one.
        self.margin = error + (1 + error) * axes.row_error() + rounding + 1e-9
        if dtype == torch.bfloat16:
            self.margin += 1.01 * 2.0**-8

    def __len__(self) -> int:
        return len(self.vectors[0])

    def left(
        self,
        turned: Turned,
        some: slice,
        least: Tensor,
        taken: Tensor | None = None,
        best: int = 0,
        probe: Callable[[Tensor], Tensor] | None = None,
        *,
        far: bool = False,
    ) -> Left | None:
        """The pairs whose product, less ``taken``, can reach ``least`` ``(q,)``.

        Rows are counted within the slice ``some``; ``taken`` ``(q, m)`` is subtracted from their
        products (per-image thresholds). ``None`` where so many remain that a full product is
        faster. Rows in ``turned.odd`` have no valid bound, and the caller handles them.

        For the ``best`` nearest rows of a single query, the callback ``probe`` computes the exact
        products of the most promising rows and returns the ``least`` that these raise it to. If the
        rows are ``far`` (on the disk), it is called once, at the end; until then lower bounds of
        the products raise ``least``.
        """
        share = READ_ALL if len(self) == 1 else READ_ALL_OF_MANY
        if self.dtype == torch.bfloat16:
            share = READ_ALL_COARSE
        whole: Tensor | None = None
        left: Left | None = None
        for at, (vectors, slices) in enumerate(zip(self.vectors, turned.slices, strict=True)):
            values = slices[some]
            guessed = far and at + 1 < len(self.vectors)
            if left is None:
                whole = _added(whole, vectors, values, taken)
                taken = None
                if guessed:
                    least = torch.maximum(least, self._reached(whole[0], vectors, values, best))
                elif probe is not None:
                    least = probe(whole[0].topk(min(best, whole.shape[1]), sorted=False).indices)
                left = _reaching(whole, least, share)
                continue
            bound = _further(left, vectors, values)
            if guessed:
                rows = values.index_select(0, left.row)
                least = torch.maximum(least, self._reached(bound, vectors, rows, best))
            elif probe is not None and len(bound) > AGAIN * best:
                least = probe(left.row[bound.topk(best, sorted=False).indices])
            kept = (bound >= (least if len(self) == 1 else least[left.query])).nonzero()[:, 0]
            left = Left(left.query[kept], left.row[kept], bound[kept])
        return left

    def _reached(self, bound: Tensor, vectors: Tensor, values: Tensor, best: int) -> Tensor:
        """A product ``(1,)`` that ``best`` rows are certain to reach, from their lower bounds."""
        if len(bound) < best:
            return bound.new_full((1,), -torch.inf)
        sure = bound - (2 * vectors[0, -1]) * values[:, -1]
        # Their own rounding, and that of what is compared with it.
        return sure.topk(best, sorted=False).values.amin()[None] - 2 * self.margin - 1e-6


def _added(whole: Tensor | None, vectors: Tensor, values: Tensor, taken: Tensor | None) -> Tensor:
    """The bounds ``whole`` ``(q, m)`` with one more slice added, and ``taken`` subtracted."""
    before, sign = (whole, 1) if taken is None else (taken, -1)
    if len(vectors) == 1:
        product = _product(values, vectors[0])
        return (product if before is None else product.add_(before[0], alpha=sign))[None]
    if before is None:
        return vectors @ values.T
    return torch.addmm(before, vectors, values.T, beta=sign)


def _reaching(whole: Tensor, least: Tensor, share: float) -> Left | None:
    if len(whole) == 1:
        mask = whole[0] >= least[0]
        if int(mask.sum()) > share * len(mask):
            return None
        row = mask.nonzero()[:, 0]
        return Left(torch.zeros_like(row), row, whole[0, row])
    # One by one: of many queries nearly every group of rows has one that is left.
    mask = whole >= least[:, None]
    if int(mask.count_nonzero()) > share * whole.numel():
        return None
    query, row = mask.nonzero().T
    well = whole[query, row] > -torch.inf
    query, row = query[well], row[well]
    return Left(query, row, whole.take(query * whole.shape[1] + row))


def _further(left: Left, vectors: Tensor, values: Tensor) -> Tensor:
    """The bounds ``(p,)`` of the remaining pairs with one more slice added."""
    if len(vectors) == 1:
        bound = _product(values.index_select(0, left.row), vectors[0])
    else:
        bound = (values.index_select(0, left.row) * vectors.index_select(0, left.query)).sum(1)
    return bound.add_(left.bound)


def _product(values: Tensor, vector: Tensor) -> Tensor:
    """Products with a single query, float32: no less than they are where they come rounded."""
    product = values @ vector
    if product.dtype == torch.float32:
        return product
    wide = product.float()
    return wide.add_(wide.abs(), alpha=ROUNDED)


def greatest(values: Tensor, groups: int) -> Tensor:
    """The maximum of each group of columns: j, groups + j, 2 groups + j, ...; ``(q, groups)``."""
    whole = values.shape[1] // groups
    found = values[:, : whole * groups].reshape(len(values), whole, groups).amax(1)
    rest = values[:, whole * groups :]
    head = found[:, : rest.shape[1]]
    torch.maximum(head, rest, out=head)
    return found


def reaching(
    values: Tensor, least: Vector, greatest_of: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where ``values`` ``(q, m)`` reach ``least`` ``(q,)``: the query and the column of each.

    ``greatest_of`` are the :func:`greatest` of groups, if they are known. Values of -inf never
    reach it.
    """
    count = values.shape[1]
    if greatest_of is None:
        greatest_of = greatest(values, max(1, count // TOGETHER))
    groups = greatest_of.shape[1]
    query, group = (greatest_of >= least[:, None]).nonzero().T
    row = group[:, None] + groups * torch.arange(-(-count // groups), device=group.device)
    value = values.take(query[:, None] * count + row.clamp_max(count - 1))
    passed = (value >= least[query][:, None]) & (row < count) & (value > -torch.inf)
    return query[:, None].expand(row.shape)[passed], row[passed]
