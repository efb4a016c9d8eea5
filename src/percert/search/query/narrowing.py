"""Upper bounds of products from the first principal coordinates, refined slice by slice.

:mod:`percert.search.tables.principal_axes` has the bound. Of each slice all rows are read while
many are left, and then those alone that are. Where too many are left behind the last, a product of
all is the faster.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.search.query.distances import Queries
from percert.search.tables.principal_axes import Axes, Turned, rests_behind
from percert.tensors import Vector

#: So many rows are first looked at together, by the greatest product of them all.
TOGETHER = 32
#: While more than this share of the rows is left, a slice is read whole; of several queries, where
#: a pair of a query and a row costs more than a place in a product.
READ_ALL, READ_ALL_OF_MANY = 1 / 4, 1 / 24


@dataclass(frozen=True, eq=False)
class Left:
    """The (query, row) pairs that remain, ``(p,)`` each, with the upper bound of their product."""

    query: Tensor
    row: Tensor
    bound: Tensor


class Narrowing:
    """Queries along ``axes``: bounds of their products with rows that lie along the same."""

    def __init__(self, axes: Axes, queries: Queries) -> None:
        exact = queries.h.double().cpu() @ axes.wide
        turned = exact.float()
        # Float64, rounded to float32, along axes that are not quite orthonormal.
        error = axes.delta + 2.0**-23 + 1e-12
        length = queries.h.double().cpu().square().sum(1) * (1 + 1e-9)
        vectors, start, before = [], 0, None
        for end, rest in zip(
            axes.cuts, rests_behind(turned, axes.cuts, length, error), strict=True
        ):
            first = queries.last.cpu().float() if before is None else -before
            vectors.append(torch.cat([turned[:, start:end], torch.stack([first, rest], 1)], 1))
            start, before = end, rest
        self.axes, self.vectors = axes, tuple(vectors)
        # A slice adds at most 4 to the sum of what is rounded: its coordinates, and three rests.
        terms = (axes.cuts[-1] + 2 * len(axes.cuts) + 8) * 2.0**-24
        rounding = 4 * len(axes.cuts) * terms / (1 - terms)
        #: How far a computed bound may be below the exact one.
        self.margin = error + (1 + error) * axes.row_error() + rounding + 1e-9

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
        """The pairs whose product less what is ``taken`` off reaches ``least`` ``(q,)``, rows
        counted in ``some``; ``None`` where they are so many that all rows are better looked at.

        ``taken`` ``(q, m)`` is for the rows of ``some``. Odd rows are among them by chance. Of a
        single query the ``best`` rows are asked for: ``probe`` looks at those that seem to be, and
        says what is asked for next; of rows ``far`` away it does so once, and until then the least
        that the slices leave of their products says it.
        """
        share = READ_ALL if len(self) == 1 else READ_ALL_OF_MANY
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
            elif probe is not None and len(bound) > 4 * best:
                least = probe(left.row[bound.topk(best, sorted=False).indices])
            kept = (bound >= (least if len(self) == 1 else least[left.query])).nonzero()[:, 0]
            left = Left(left.query[kept], left.row[kept], bound[kept])
        return left

    def _reached(self, bound: Tensor, vectors: Tensor, values: Tensor, best: int) -> Tensor:
        """What ``best`` rows reach for sure ``(1,)``: their bounds less twice what rests make."""
        if len(bound) < best:
            return bound.new_full((1,), -torch.inf)
        sure = bound - (2 * vectors[0, -1]) * values[:, -1]
        # Their own rounding, and that of what is compared with it.
        return sure.topk(best, sorted=False).values.amin()[None] - 2 * self.margin - 1e-6


def _added(whole: Tensor | None, vectors: Tensor, values: Tensor, taken: Tensor | None) -> Tensor:
    """``whole`` ``(q, m)`` with the products of a slice, and less what is ``taken`` off."""
    before, sign = (whole, 1) if taken is None else (taken, -1)
    if len(vectors) == 1:
        product = values @ vectors[0]
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
    query, row = reaching(whole, least)
    if len(row) > share * whole.numel():
        return None
    return Left(query, row, whole.take(query * whole.shape[1] + row))


def _further(left: Left, vectors: Tensor, values: Tensor) -> Tensor:
    """The bounds ``(p,)`` of the pairs that are left with one slice more."""
    if len(vectors) == 1:
        bound = values.index_select(0, left.row) @ vectors[0]
    else:
        bound = (values.index_select(0, left.row) * vectors.index_select(0, left.query)).sum(1)
    return bound.add_(left.bound)


def greatest(values: Tensor, groups: int) -> Tensor:
    """``(q, groups)``: the greatest of the columns j, groups + j, 2 groups + j and so on."""
    whole = values.shape[1] // groups
    found = values[:, : whole * groups].reshape(len(values), whole, groups).amax(1)
    rest = values[:, whole * groups :]
    head = found[:, : rest.shape[1]]
    torch.maximum(head, rest, out=head)
    return found


def reaching(
    values: Tensor, least: Vector, greatest_of: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where ``(q, m)`` values reach ``least`` ``(q,)``, query by query: which, and in which column.

    ``greatest_of`` are the :func:`greatest` of groups where they are known. Infinitely low values
    never do.
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
