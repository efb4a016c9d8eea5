"""The prefilter: drops rows by float32 products, with a proven bound of their rounding error.

One float32 matrix product compares every row g_j of a block with every query g_i. Its rounding
error has a proven bound eta (:mod:`~percert.search.query.rounding`), so a row whose computed
product is more than eta too small is not wanted, and no match is lost. Few rows are left, and
memory stays flat. Where the rows have principal coordinates as well, the first of these rule out
nearly all rows (:mod:`percert.search.query.narrowing`), and only the others are read whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from percert.device import full_precision
from percert.search.query.distances import Queries
from percert.search.query.levels import Levels
from percert.search.query.narrowing import (
    TOGETHER,
    Left,
    Narrowing,
    Taken,
    greatest,
    reaching,
)
from percert.search.query.rounding import inverse_norms, rounded_down, rounding_margin
from percert.search.tables.scan import Block
from percert.tensors import Vector

#: Products that are held at once, so that they stay in cache, and of bounds; and rows at most.
PRODUCTS, BOUNDS, ROWS = 1 << 21, 1 << 19, 1 << 17
#: Rows of one product of several queries.
TILE = 2048
#: Values of rows that are read at once from the disk, 64 MiB.
FAR_VALUES = 1 << 24
#: Values of rows that are held at once.
VALUES = 1 << 23


@dataclass(frozen=True, eq=False)
class Pairs:
    """The (query, row) pairs that pass, with their cosine: infinite where float64 has to decide."""

    query: Tensor
    row: Tensor
    cosine: Tensor

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, index: Tensor | slice) -> "Pairs":
        return Pairs(self.query[index], self.row[index], self.cosine[index])


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """The pairs of all ``parts``, of which there is at least one."""
    if len(parts) == 1:
        return parts[0]
    query = torch.cat([one.query for one in parts])
    row = torch.cat([one.row for one in parts])
    return Pairs(query, row, torch.cat([one.cosine for one in parts]))


class Prefilter:
    """Drops the rows of a collection whose product with a query is proven to be below ``least``.

    ``queries`` are vectors of length at most 1, ``least`` ``(q,)`` is float64. With ``best``, the
    least product of a query rises to the ``best``-th largest one seen so far. No row that reaches
    it is missed, whatever the rounding, and rows without a direction always pass. With ``swing``
    ``(q, 2)``, (cos phi, -sin phi) of the angle by which each query may turn, a row's own threshold
    is subtracted from its product first (:class:`~percert.search.query.levels.Levels`).
    """

    def __init__(
        self,
        queries: Queries,
        least: Vector,
        *,
        device: torch.device | str = "cpu",
        best: int | None = None,
        swing: Tensor | None = None,
    ) -> None:
        self.queries = queries
        self.least = least.to(device)
        self._swing = None if swing is None else swing.to(device)
        self.best = best
        self._h = queries.h.to(device)
        self._shift = (queries.last * queries.constant).to(device)[:, None]
        self._narrow = self._h
        self._finite = self._h.isfinite().all(1)
        self._margin = 0.0
        self._top: Tensor | None = None
        self._narrowing: Narrowing | None = None
        self._tried = [0, 0]

    def passing(self, block: Block, levels: Levels | None = None) -> Iterator[Pairs]:
        """The pairs of ``block`` that pass, part by part in its order, on the CPU.

        ``levels`` are the own thresholds of its rows, needed with ``swing``. Raises ``ValueError``
        for embeddings of another width, and for any that are not finite.
        """
        check_block(block, self.queries)
        dtype, count = block.embeddings.dtype, len(self.queries)
        if self._narrow.dtype != dtype:
            self._narrow = self._h.to(dtype)
        # Eight more for what a row's own threshold takes off.
        width = self._h.shape[1] + (0 if self._swing is None else 8)
        self._margin = max(self._margin, rounding_margin(width, dtype) + 1e-12)
        inverse, odd = block.once(
            (inverse_norms, self.queries.constant),
            lambda: inverse_norms(block, self.queries.constant),
        )
        bounded = block.turned is not None and count > 1 and self.best is None
        at_once = BOUNDS if bounded else PRODUCTS
        step = max(1, min(ROWS, at_once // max(1, count)))
        if _is_far(block):  # they may all have to be read at once
            step = min(step, max(1, FAR_VALUES // self._h.shape[1]))
        for start in range(0, len(block.embeddings), step):
            some = slice(start, min(start + step, len(block.embeddings)))
            taken = None
            if self._swing is not None and levels is not None:
                taken = levels.taken(self._swing, some)
            left = self._left(block, some, taken, inverse)
            if left is None:
                pairs = self._of_all(block, some, taken, inverse, odd)
            else:
                pairs = self._of_left(block, left, some, taken, inverse, odd)
            query, row, value = pairs.query.cpu(), pairs.row.cpu() + start, pairs.cosine.cpu()
            ill = odd[(odd >= start) & (odd < some.stop)]
            if len(ill):
                query = torch.cat([query, torch.arange(count).repeat_interleave(len(ill))])
                row = torch.cat([row, ill.repeat(count)])
                value = torch.cat([value, value.new_full((count * len(ill),), torch.inf)])
            yield Pairs(query, row, value)

    def passes(self, query: Tensor, cosine: Tensor) -> Tensor:
        """Which pairs ``(p,)`` of a query and a computed cosine still pass."""
        return cosine >= (self.least.cpu() - self._margin)[query]

    def bound(self, query: Tensor, distance: Vector) -> None:
        """Raise the least product of the queries at ``query``: drop all beyond ``distance``."""
        enough = (self.queries.weight[query] + 1) / 2 - distance - 1e-12
        self.least[query] = torch.maximum(self.least[query], enough.to(self.least))

    def _left(self, block: Block, some: slice, taken: Taken | None, inverse: Vector) -> Left | None:
        """The pairs that 8-bit coordinates leave; ``None`` where a full product is cheaper."""
        turned, best, alone = block.turned, self.best or 0, len(self.queries) == 1
        if turned is None or self._h.device.type != "cpu":
            return None
        if best and not alone and not bool((self.least > -torch.inf).all()):
            return None  # several queries learn what is near from the first rows
        # How many parts were looked through so, and of how many that told nothing: for the nearest
        # by all queries so far, for thresholds by these.
        tried = block.once(("nearest", alone), lambda: [0, 0]) if best else self._tried
        if tried[0] >= (8 if best else 2) and 2 * tried[1] > tried[0]:
            return None
        narrowing = self._narrowing
        if narrowing is None or narrowing.turned is not turned:
            narrowing = self._narrowing = Narrowing(turned, self.queries)

        def probe(row: Tensor) -> float:
            """Look whole at the ``row`` that seem nearest, for what is worth looking at."""
            some_rows = row + some.start
            if len(turned.odd):
                some_rows = some_rows[~torch.isin(some_rows, turned.odd)]
            cosine = self._products(block, None, some_rows, inverse)
            if self._top is not None:
                cosine = torch.cat([self._top[0].to(cosine), cosine])
            if best and len(cosine) >= best:
                last = np.partition(cosine.numpy(), -best)[-best]
                self.least = self.least.clamp_min(float(last) - self._margin)
            return float(self.least[0]) - self._margin

        least = self.least - self._margin
        far = _is_far(block)
        if best and alone:
            far = far and not len(turned.odd)
            left = narrowing.left(some, least, None, best, probe, far=far)
        else:
            left = narrowing.left(some, least, taken, far=far)
        tried[0] += 1
        tried[1] += left is None
        return left

    def _of_left(
        self,
        block: Block,
        left: Left,
        some: slice,
        taken: Taken | None,
        inverse: Vector,
        odd: Tensor,
    ) -> Pairs:
        """Those of the pairs ``left`` whose full product passes; rows count within ``some``."""
        query, row, alone = left.query, left.row, len(self.queries) == 1
        if len(odd):
            well = ~torch.isin(row + some.start, odd)
            query, row = query[well], row[well]
        value = self._products(block, None if alone else query, row + some.start, inverse)
        if taken is not None:
            value -= taken.of_pairs(query, row).to(value)
        if self.best is not None and len(value):
            self._raise(self._by_query(query, value))
        passed = value >= rounded_down(self.least - self._margin, value.dtype)[query]
        return Pairs(query[passed], row[passed], value[passed])

    def _by_query(self, query: Tensor, value: Tensor) -> Tensor:
        """One row a query: its values, padded with -inf."""
        if len(self.queries) == 1:
            return value[None]
        order = query.argsort(stable=True)
        count = torch.bincount(query, minlength=len(self.queries))
        place = torch.arange(len(query)) - (count.cumsum(0) - count)[query[order]]
        rows = value.new_full((len(self.queries), int(count.max())), -torch.inf)
        rows[query[order], place] = value[order]
        return rows

    def _products(self, block: Block, query: Tensor | None, row: Tensor, inverse: Vector) -> Tensor:
        """The computed cosines ``(p,)`` of pairs of a query (``None``: the only one) and a row."""
        step, found = max(1, VALUES // 8 // self._h.shape[1]), []
        for start in range(0, len(row), step):
            r = row[start : start + step]
            h = block.embeddings
            h = h.index_select(0, r) if isinstance(h, Tensor) else h[r]
            q = None if query is None else query[start : start + step]
            product = h.mv(self._narrow[0]) if q is None else (h * self._narrow[q]).sum(1)
            if self.queries.constant:
                product += self._shift.to(h)[0 if q is None else q, 0]
            found.append(product.mul_(inverse.index_select(0, r)))
        if len(found) == 1:
            return found[0]
        return torch.cat(found) if found else self._narrow.new_zeros(0)

    def _of_all(
        self, block: Block, some: slice, taken: Taken | None, inverse: Vector, odd: Tensor
    ) -> Pairs:
        """The pairs that pass by a full product of all rows of the part, counted within it."""
        h = block.embeddings[some].to(self._h.device)
        cosine = self._cosines(h, inverse[some].to(h))
        if taken is not None:
            taken.to(cosine).off(cosine.T)
        ill = odd[(odd >= some.start) & (odd < some.stop)]
        if len(ill):
            cosine[:, (ill - some.start).to(h.device)] = -torch.inf
        return self._pairs(cosine)

    def _cosines(self, h: Tensor, inverse: Vector) -> Tensor:
        """``(q, m)`` products with the queries over the rows' norms, in the rows' precision."""
        shift = self._shift.to(h)
        cosine = h.new_empty(len(self._narrow), len(h))
        with full_precision(h.device):
            if len(cosine) == 1:
                return (h @ self._narrow[0]).add_(shift[0]).mul_(inverse)[None]
            # Products of few rows are the fastest.
            for start in range(0, len(h), TILE):
                some = slice(start, start + TILE)
                product = self._narrow @ h[some].T
                if self.queries.constant:
                    product += shift
                torch.mul(product, inverse[some], out=cosine[:, some])
        return cosine

    def _pairs(self, cosine: Tensor) -> Pairs:
        """The (query, row) pairs whose product ``(q, m)`` is large enough, query by query."""
        count = cosine.shape[1]
        groups = min(count, max(count // TOGETHER, 4 * (self.best or 0), 1))
        most = greatest(cosine, groups)
        # A maximum is NaN where one of the products is: no row may be lost with it.
        if bool((most.isnan().any(1) & self._finite).any()):
            raise ValueError(
                "collection: an embedding is not finite, though its norm is; "
                "`percert index verify` names the image"
            )
        if self.best is not None:
            self._raise(most)
        query, row = reaching(cosine, rounded_down(self.least - self._margin, cosine.dtype), most)
        return Pairs(query, row, cosine.take(query * count + row))

    def _raise(self, cosine: Tensor) -> None:
        """Raise the least product to the ``best``-th largest seen; rows must not be given twice."""
        top = cosine if self._top is None else torch.cat([self._top.to(cosine), cosine], 1)
        if self.best is not None and top.shape[1] >= self.best:
            top = top.topk(self.best, dim=1, sorted=False).values
            self.least = torch.maximum(self.least, top.amin(1).double() - self._margin)
        self._top = top


def _is_far(block: Any) -> bool:
    """Whether the rows of a block stay on the disk until they are read."""
    return not isinstance(block.embeddings, Tensor)


def check_block(block: Block, queries: Queries) -> None:
    if block.embeddings.shape[1] != queries.h.shape[1]:
        raise ValueError(
            f"collection: expected embeddings of width {queries.h.shape[1]}, "
            f"found {block.embeddings.shape[1]}"
        )
    if len(block.ids) * block.views != len(block.embeddings):
        raise ValueError(
            f"collection: expected {block.views} embeddings for each of {len(block.ids)} images, "
            f"found {len(block.embeddings)}"
        )
