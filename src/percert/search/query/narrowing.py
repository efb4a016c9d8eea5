"""The prefilter by 8-bit coordinates: upper bounds of products, tighter slice by slice.

The first coordinates of a row along principal axes, v of a query and u of the row, bound their
product (:mod:`percert.search.tables.principal_axes`). Both are kept in 8 bits, so that
<v, u> <= <v', u'> + |v| |u - u'| + |v - v'| |u'|, where the first is a product of whole numbers,
and all lengths are known (:mod:`percert.search.tables.quantised`). Each further slice of
coordinates makes the bound tighter, and rows whose bound is too small are dropped. A slice is read
of all rows while many are left, then of these alone. Whole rows in 8 bits, where a store keeps
them, come last: a single query is then kept twice as finely, for what is left is read from the
disk. If too many rows are left at the end, a full product is faster and is used instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.search.query.distances import Queries
from percert.search.tables.quantised import BASE, Numbers, Slice, columns_at, quantise_queries
from percert.search.tables.turned import Turned
from percert.tensors import Vector

#: Rows are scanned in groups of this size, by the maximum of each group.
TOGETHER = 32
#: While more than this share of the rows is left, a slice is read of all. With several queries, one
#: pair costs more than one entry of a matrix product.
READ_ALL, READ_ALL_OF_MANY = 1 / 3, 1 / 400
#: So few rows are as soon looked at whole.
FEW = 64
#: Where so many times more rows are left than are asked for, the nearest are looked at once more.
AGAIN = 16


class Taken(NamedTuple):
    """What is taken off each product: ``rows`` ``(2, m)`` times ``queries`` ``(2, n)``, float32."""

    rows: Tensor
    queries: Tensor

    def to(self, like: Tensor) -> "Taken":
        return Taken(self.rows.to(like), self.queries.to(like))

    def of_rows(self, row: Tensor) -> "Taken":
        return Taken(columns_at(self.rows, row), self.queries)

    def off(self, bound: Tensor) -> Tensor:
        """``bound`` ``(m, n)`` less it, in place."""
        return bound.addmm_(self.rows.T, self.queries, alpha=-1)

    def off_one(self, bound: Tensor) -> Tensor:
        """The same of a single query, ``(m,)``."""
        return bound.addmv_(self.rows.T, self.queries[:, 0], alpha=-1)

    def of_pairs(self, query: Tensor, row: Tensor) -> Tensor:
        """That of pairs, ``(p,)``."""
        return (columns_at(self.rows, row) * self.queries.index_select(1, query)).sum(0)


@dataclass(frozen=True, eq=False)
class Left:
    """The p (query, row) pairs that remain, with an upper ``bound`` of each product."""

    query: Tensor
    row: Tensor
    bound: Tensor


@dataclass(frozen=True, eq=False)
class _Stage:
    """What one slice of rows is multiplied by: int8 ``columns`` of ``scale``, and ``sides`` (c, n).

    ``margin`` is how far a bound may be below the exact product for what this and the stages before
    round of the queries. ``fresh``: it takes the place of all before.
    """

    columns: Tensor
    scale: float
    sides: Tensor
    margin: float
    fresh: bool


class Narrowing:
    """Queries projected onto the axes of ``turned``, to bound their products with its rows."""

    def __init__(self, turned: Turned, queries: Queries) -> None:
        self.turned = turned
        # In NumPy, whose calls cost less: of one query little else is to be done.
        self._h, self._last = queries.h.double().cpu().numpy(), queries.last.double().cpu().numpy()
        self._narrow = self._h.astype(np.float32)
        self._stages: list[_Stage] = []
        self._before, self._off = self._last, 0.0
        #: |h|^2 of each, and how much of it lies along the axes so far.
        self._length = _squares(self._h) * (1 + 1e-9)
        self._known = np.zeros_like(self._length)

    def __len__(self) -> int:
        return len(self._h)

    def stage(self, at: int) -> _Stage:
        """The query's side of stage ``at``; projected when it is first asked for."""
        while len(self._stages) <= at:
            self._stages.append(self._made(len(self._stages)))
        return self._stages[at]

    def _made(self, at: int) -> _Stage:
        axes = self.turned.axes
        fresh = axes is None or at == len(axes.cuts)
        # 16 operations of float32 a stage, of terms whose sum is at most 4.
        fixed = 64 * (at + 1) * 2.0**-24 + 1e-9
        if fresh or axes is None:
            along, sides, before = self._h, [self._last], 0.0
        else:
            # Both are off by what float32 rounds, along axes that are not quite orthonormal.
            e = axes.row_error()
            fixed += (2 + e) * e
            along = (self._narrow @ axes.parts[at].numpy()).astype(np.float64)
            self._known = self._known + _squares(along)
            rest = _rest_behind(self._length, self._known, e)
            sides, before = [self._before if at == 0 else -self._before, rest], self._off
            self._before = rest
        columns, scale, off = quantise_queries(along, exactly=fresh and len(self) == 1)
        # A row in 8 bits may be longer than it is.
        off = before + off * (1 + math.sqrt(along.shape[1]) / 254)
        if not fresh:
            self._off = off
        length = np.sqrt(_squares(along)) * (1 + 1e-6) + 1e-9
        both = torch.from_numpy(np.stack([*sides, length]).astype(np.float32))
        return _Stage(torch.from_numpy(columns), scale, both, fixed + off, fresh)

    def left(
        self,
        some: slice,
        least: Vector,
        taken: Taken | None = None,
        best: int = 0,
        probe: Callable[[Tensor], float] | None = None,
        *,
        far: bool = False,
    ) -> Left | None:
        """The pairs whose product, less ``taken``, can reach ``least`` ``(q,)``.

        Rows are counted within the slice ``some``. ``None`` where so many remain that a full
        product is faster. Rows in ``turned.odd`` have no valid bound, and the caller handles them.

        For the ``best`` nearest rows of a single query, the callback ``probe`` computes the exact
        products of the most promising rows and returns the least product that these raise it to.
        If the rows are ``far`` (on the disk), it is called once, at the end, or not at all if whole
        rows in 8 bits are kept; until then lower bounds of the products raise it.
        """
        few = 0 if far else FEW  # of the others each is read from the disk
        if len(self) > 1:
            return self._of_many(some, least, taken, few)
        low, slack = float(least[0]), None
        row: Tensor | None = None
        bound: Tensor | None = None
        stages = self.turned.stages
        for at, held in enumerate(stages):
            stage = self.stage(at)
            mine = held[some] if row is None else held.take(row + some.start)
            before = None if stage.fresh else bound
            bound = _bounds_of_one(mine, stage, before)
            if taken is not None and before is None:
                bound = (taken if row is None else taken.of_rows(row)).off_one(bound)
            if best and far:
                loose = mine.sides[-1] * stage.sides[-1]
                slack = loose if slack is None or stage.fresh else slack + loose
                if stage.fresh or at + 1 < len(stages):
                    low = max(low, _reached(bound, slack, mine, stage, best))
                elif probe is not None:
                    low = _probed(probe, row, bound, best)
            # In NumPy, which counts and finds what is true several times as fast.
            mask = bound.numpy() >= low - stage.margin
            # One slice of the first rows tells little: the next is read of nearly all anyway.
            early = at == 0 and math.isinf(low) and len(stages) > 1
            if probe is not None and not (far or early) and _count(mask) > AGAIN * best:
                low = _probed(probe, row, bound, best)
                mask = bound.numpy() >= low - stage.margin
            if row is None and _count(mask) > READ_ALL * len(mask):
                continue
            kept = torch.from_numpy(mask.nonzero()[0])
            row = kept if row is None else row.index_select(0, kept)
            bound = bound.index_select(0, kept)
            slack = None if slack is None else slack.index_select(0, kept)
            if len(row) <= few:
                break
        if row is None or bound is None:
            return None
        return Left(torch.zeros_like(row), row, bound)

    def _of_many(self, some: slice, least: Vector, taken: Taken | None, few: int) -> Left | None:
        """The same for several queries, whose least products nothing raises."""
        # No product is below -2: what has to reach nothing passes.
        low = least.clamp_min(-9.0).float()
        off_rows = -torch.ones(1, some.stop - some.start)
        off_queries = low[None]
        if taken is not None:
            off_rows = torch.cat([off_rows, -taken.rows])
            off_queries = torch.cat([off_queries, taken.queries])
        above: Tensor | None = None
        left: Left | None = None
        for at, held in enumerate(self.turned.stages):
            stage, mine = self.stage(at), held[some]
            if left is not None:
                bound = _bounds_of_pairs(mine, stage, left)
                if stage.fresh and taken is not None:
                    bound -= taken.of_pairs(left.query, left.row)
                kept = (bound >= low[left.query] - stage.margin).nonzero()[:, 0]
                left = Left(left.query[kept], left.row[kept], bound[kept])
                continue
            # By how much each bound is above what it has to reach.
            if above is None or stage.fresh:
                sides = torch.cat([mine.sides, off_rows]), torch.cat([stage.sides, off_queries])
                above = _bounds(replace(mine, sides=sides[0]), replace(stage, sides=sides[1]))
            else:
                above = _bounds(mine, stage, above)
            hit = (above.amax(1) >= -stage.margin).nonzero()[:, 0]
            part = above.index_select(0, hit)
            mask = part >= -stage.margin
            if int(mask.count_nonzero()) <= READ_ALL_OF_MANY * above.numel():
                row, query = mask.nonzero().T
                left = Left(query, hit[row], part[row, query] + low[query])
            if left is not None and len(left.row) <= few:
                break
        return left


def _squares(vectors: Numbers) -> Numbers:
    """The squared length of each."""
    found: Numbers = np.einsum("qs,qs->q", vectors, vectors)
    return found


def _rest_behind(length: Numbers, known: Numbers, error: float) -> Numbers:
    """The rest of vectors of squared ``length``, of which ``known`` lies along axes, at most."""
    sure = np.maximum(np.sqrt(known) * (1 - 1e-9) - error, 0) ** 2
    found: Numbers = np.sqrt(np.maximum(length - sure, 0)) * (1 + 1e-6) + 1e-9
    return found


def _bounds(held: Slice, stage: _Stage, before: Tensor | None = None) -> Tensor:
    """Upper bounds ``(m, n)`` of products: what a slice adds to those ``before``, in place."""
    bound = held.products(stage.columns).float().mul_((held.scale * stage.scale)[:, None])
    bound.addmm_(held.sides.T, stage.sides)
    return bound if before is None else before.add_(bound)


def _bounds_of_one(held: Slice, stage: _Stage, before: Tensor | None = None) -> Tensor:
    """The same ``(m,)`` of a single query."""
    digits = held.products(stage.columns).unbind(1)
    whole = (digits[0] if len(digits) == 1 else digits[1].add(digits[0], alpha=BASE)).float()
    sides, query = held.sides.T, stage.sides[:, 0]
    bound = sides.mv(query) if before is None else before.addmv_(sides, query)
    return bound.addcmul_(whole, held.scale, value=stage.scale)


def _bounds_of_pairs(held: Slice, stage: _Stage, left: Left) -> Tensor:
    """The bounds ``(p,)`` of the remaining pairs with one more slice added."""
    mine = held.take(left.row)
    values = stage.columns.T.float().index_select(0, left.query)
    product = (mine.values.transpose(0, 1).flatten(1).float() * values).sum(1)
    bound = product.mul_(mine.scale * stage.scale)
    bound += (mine.sides * stage.sides.index_select(1, left.query)).sum(0)
    return bound if stage.fresh else bound.add_(left.bound)


def _reached(bound: Tensor, slack: Tensor, held: Slice, stage: _Stage, best: int) -> float:
    """A product that ``best`` rows are certain to reach, from their lower bounds."""
    if len(bound) < best:
        return -math.inf
    sure = bound - 2 * slack
    if not stage.fresh:
        sure -= 2 * stage.sides[1] * held.sides[1]
    # Their own rounding, and that of what is compared with it.
    return float(sure.topk(best, sorted=False).values.amin()) - 2 * stage.margin - 1e-6


def _probed(
    probe: Callable[[Tensor], float], row: Tensor | None, bound: Tensor, best: int
) -> float:
    """What ``probe`` finds of rows that seem nearest: of many, the first of some groups."""
    values = bound.numpy()
    groups = len(values) // TOGETHER
    if groups >= best:
        of_groups = values[: groups * TOGETHER].reshape(TOGETHER, groups)
        group = _largest(of_groups.max(0), best)
        seem = group + groups * of_groups[:, group].argmax(0)
    else:
        seem = _largest(values, best)
    found = torch.from_numpy(seem)
    return probe(found if row is None else row.index_select(0, found))


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _largest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """The places of the ``count`` largest, or of all, in no order."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, -count)[-count:]


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
