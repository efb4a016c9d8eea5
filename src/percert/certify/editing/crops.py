"""Every crop that keeps a share of each side, wherever it lies.

A crop is a box of whole pixels, so there are finitely many: of 299 x 299 pixels 216,225 keep 90 %
of each side. Each is resized from its own size, as a file of it would be: its input is S = R X C^T,
X the image and R and C the resizes of its rows and columns. Anchors are embedded one after the
other where crops are left, and each takes all those away that lie within its ball. How far these
lie from an anchor's T = R_0 X C_0^T takes no more than

    |S - T|^2 = |S|^2 - 2 <S, T> + |T|^2,  <S, T> = <R^T R_0, N N_0^T>,  N = X C^T:

products of what depends on the rows alone and on the columns alone; and R^T R_0 is a narrow band.
N N_0^T is multiplied in float32, and what that rounds is bounded: an entry by gamma |N_i| |N_0j|.
"""

import math
from functools import lru_cache, partial
from itertools import product

import torch
from torch import Tensor

from percert.certify.editing.crop_lines import Gram, Line, margins_of
from percert.certify.editing.network_input import NetworkInput
from percert.tensors import Features

#: An anchor: the rows' margins and the columns', as places in the lists of those there are.
Anchor = tuple[int, int]
#: What float64 may move a squared distance by, of the squared lengths that it is a difference of.
CANCELLED = 1e-9
#: The share of a radius within which anchors are chosen: how near crops lie is only estimated then.
CAREFUL = 0.95
#: What float32 may move a product of k terms by, of the lengths multiplied: k + 3 times this.
SINGLE = 1.01 * 2.0**-24
#: Memory for halves that are kept.
MOST_BYTES = 2**28
#: Columns beside so many are kept with their products, up to the next power of this of a radius.
BESIDES, GROWTH = 24, 1.5
#: Rows whose lengths are computed together.
TOGETHER = 128
#: Crops of one region; more would not fit into memory, nor into anybody's patience.
MOST_CROPS = 4_000_000


class Crops:
    """The crops of ``picture`` ``(3, h, w)``, float64, that keep at least ``share`` of each side.

    Their margins are multiples of ``step`` pixels. Crops that keep at least ``known`` of each side
    are left out, since they are proven already. Each may be tampered with by l2 ``eps`` besides.
    Raises ``ValueError`` for more than :data:`MOST_CROPS`.
    """

    def __init__(
        self,
        picture: Tensor,
        seen: NetworkInput,
        share: float,
        step: int = 1,
        known: float | None = None,
        eps: float = 0.0,
    ) -> None:
        self.seen = seen
        # Weights sum to 1: a constant goes to itself, in every crop, and cancels in differences.
        self.constant = picture.mean((1, 2), keepdim=True)
        self.picture = picture - self.constant
        size = (picture.shape[1], picture.shape[2])
        spares = [spare_of(side, share, step) for side in size]
        count = math.prod(len(margins_of(spare, step)) for spare in spares)
        if count > MOST_CROPS:
            raise ValueError(
                f"step: {count:,} crops keep {share:g} of each side with margins that are "
                f"multiples of {step}, of which no more than {MOST_CROPS:,} can be looked at; "
                "expected a larger step"
            )
        self.lines = [
            Line(side, outside, seen.metric.resize, margins_of(spare, step))
            for side, outside, spare in zip(size, seen.metric.resize.size, spares, strict=True)
        ]
        rows, columns = self.lines
        self.gram = Gram(rows)
        self.open = torch.ones(len(rows.margins), len(columns.margins), dtype=torch.bool)
        if known is not None:
            kept = [
                line.lost <= spare_of(side, known, step)
                for line, side in zip(self.lines, size, strict=True)
            ]
            self.open &= ~(kept[0][:, None] & kept[1])
        # What a tamper moves each crop's input by.
        self.tampered = eps * self._norms() if eps else torch.zeros(self.open.shape)
        # These refer to nothing that refers to them, so that memory is free when crops are done.
        exact_half = lru_cache(32)(partial(_half_of, self.picture, columns))
        self._exact_half = exact_half
        self._half = lru_cache(max(64, MOST_BYTES // (12 * size[0] * columns.outside)))(
            lambda column: exact_half(column).float()
        )
        self._besides: dict[int, tuple[float, Tensor, Tensor]] = {}
        # The sum of each channel of each crop's S.
        self._totals = torch.einsum("nh,chw,mw->nmc", rows.sums(), self.picture, columns.sums())
        self._square = torch.full(self.open.shape, math.nan, dtype=torch.float64)
        self._spread = torch.full(self.open.shape, math.nan, dtype=torch.float64)
        self._near = self._nearness()
        # The rows, columns and radii of anchors that were looked at.
        self._known = torch.empty(0, 3, dtype=torch.float64)
        self._asked = torch.zeros_like(self.open)
        # What the balls of the anchors that were taken last cover, by an estimate.
        self._promised = torch.zeros_like(self.open)
        # The columns whose crops are looked at now, the anchors' among them, and how near they lie.
        self._cell, self._middle = torch.zeros(len(columns.margins), dtype=torch.bool), 0
        self._within = 0.0

    def edit(self, anchor: Anchor) -> tuple[float, ...]:
        """The anchor's margins: above, below, left and right."""
        found = [line.margins[at] for line, at in zip(self.lines, anchor, strict=True)]
        return (*map(float, found[0]), *map(float, found[1]))

    def inputs(self, anchors: list[Anchor]) -> Features:
        """The network's inputs for the anchors."""
        made = [self.lines[0].dense(row) @ self._exact_half(column) for row, column in anchors]
        return _channels(torch.stack(made)) + self.constant

    def take(self, most: int) -> list[Anchor]:
        """Anchors to embed next: crops whose balls, by an estimate, cover much of the rest.

        The smallest crops come first, since the least is proven of them. What balls of the anchors
        taken before may cover, which are not struck yet, is left alone.
        """
        if not len(self._known):
            # Of radii nothing is known to begin with: one anchor, and then it is waited for.
            most = int(not bool(self._asked.any()))
        before = self.open & ~self._promised
        left = before.clone()
        chosen: list[Anchor] = []
        while len(chosen) < most and bool(left.any()):
            chosen.append(self._next(left))
        self._promised = before & ~left
        return chosen

    def _next(self, left: Tensor) -> Anchor:
        """An anchor whose estimated ball covers much of ``left``, from which it is removed."""
        row, column = self._smallest(left)
        anchor, within = (row, column), 0.0
        rows, columns = self._near
        if len(self._known):
            within = (CAREFUL * self._expected(row, column)) ** 2
            self._settle(column, left, within / 2)
            spent = columns[self._middle]
            free = ~self._asked[:, self._middle] & (rows[row] <= within - spent[column])
            candidates = free.nonzero().flatten()
            if len(candidates):
                at, beside = rows[row] <= 4 * within, spent <= within
                holds = rows[candidates][:, at, None] + spent[beside] <= within
                weight = (holds & left[at][:, beside]).flatten(1).sum(1)
                anchor = int(candidates[weight.argmax()]), self._middle
        left &= rows[anchor[0]][:, None] + columns[anchor[1]] > within
        left[anchor] = left[row, column] = False
        self._asked[anchor] = True
        return anchor

    def _smallest(self, left: Tensor) -> Anchor:
        """The smallest crop among the current columns; among all where these are done."""
        columns = left.any(0)
        if bool((self._cell & columns).any()):
            columns &= self._cell
        else:
            columns = torch.arange(len(columns)) == _last(columns, self.lines[1].lost)
        row = _last(left[:, columns].any(1), self.lines[0].lost)
        return row, _last(columns & left[row], self.lines[1].lost)

    def _settle(self, column: int, left: Tensor, within: float) -> None:
        """Choose other columns where ``column`` is not among them, or radii have changed."""
        if self._cell[column] and self._within / 2 < within < 2 * self._within:
            return
        near = self._near[1]
        candidates = (left.any(0) & (near[column] <= within)).nonzero().flatten()
        weight = (near[candidates] <= within).double() @ left.sum(0).double()
        self._middle, self._within = int(candidates[weight.argmax()]), within
        self._cell = near[self._middle] <= within

    def _expected(self, row: int, column: int) -> float:
        """An estimate of the radius: that of the nearest anchor so far."""
        rows, columns = self._known[:, :2].long().T
        near = self._near[0][row, rows] + self._near[1][column, columns]
        return float(self._known[near.argmin(), 2])

    def strike(self, anchor: Anchor, radius: float) -> bool:
        """Remove the crops within ``radius`` of the anchor; False if it is not one of them."""
        row, column = anchor
        if math.isinf(radius):  # there is no other answer
            self.open.fill_(False)
            return True
        self._known = torch.cat([self._known, self._known.new_tensor([[row, column, radius]])])
        beside, _ = self._beside(column, _level(radius))
        rows = (self._near[0][row] <= radius**2) & self.gram.reaches(row)
        rows &= self.open[:, beside].any(1)
        rows[row] = True
        at = rows.nonzero().flatten()
        block = at[:, None], beside
        held = self.distances(anchor, at, radius) + self.tampered[block] < radius
        self.open[block] &= ~held
        return not bool(self.open[anchor])

    def distances(self, anchor: Anchor, rows: Tensor, radius: float) -> Tensor:
        """Upper bounds of |P (S - T)| for an anchor's T, ``(rows, columns)``.

        Of the crops of ``rows`` and of the columns beside the anchor's.
        """
        row, column = anchor
        columns, products = self._beside(column, _level(radius))
        inner = self.gram.inner(rows, torch.tensor([row]), products)
        found = self._square[rows[:, None], columns] + self._square[anchor] - 2 * inner
        if self.seen.blind_to_means:
            moved = self._totals[rows[:, None], columns] - self._totals[anchor]
            height, width = self.seen.metric.resize.size
            found = found - moved.square().sum(2) / (height * width)
        error = CANCELLED * (self._square[rows[:, None], columns] + self._square[anchor])
        gamma = SINGLE * (3 * self.lines[1].outside + 3)
        error += 2 * gamma * (self._spread[rows[:, None], columns] * self._spread[anchor]).sqrt()
        distances: Tensor = (found + error).clamp_min(0).sqrt() * (1 + 1e-9)
        return distances

    def _beside(self, column: int, level: int) -> tuple[Tensor, Tensor]:
        """The columns near an anchor's that have open crops, and their products with its N."""
        nothing = -math.inf, torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.float64)
        known, columns, products = self._besides.pop(column, nothing)
        if known < level:
            near = (self._near[1][column] <= GROWTH ** (2 * level)) & self.open.any(0)
            near[column] = True
            near[columns] = False
            more = near.nonzero().flatten()
            if len(more):
                made = self._products(more, column)
                columns = torch.cat([columns, more])
                products = torch.cat([products, made], dim=1) if len(products) else made
        # Those that were asked for last stay.
        self._besides[column] = max(known, level), columns, products
        if len(self._besides) > BESIDES:
            del self._besides[next(iter(self._besides))]
        return columns, products

    def _products(self, columns: Tensor, column: int) -> Tensor:
        """Those of the N of ``columns`` with that of one."""
        self._measure(columns[self._square[0, columns].isnan()])
        halves = torch.stack([self._half(one) for one in columns.tolist()])
        return self.gram.products(halves, self._half(column)).double()

    def _measure(self, columns: Tensor) -> None:
        """|S|^2 of all crops of ``columns``, and what float32 errors of their products scale by."""
        if not len(columns):
            return
        halves = [self._exact_half(one) for one in columns.tolist()]
        own = torch.cat([self.gram.products(half[None], half) for half in halves], dim=1)
        rows = torch.split(torch.arange(len(self.open)), TOGETHER)
        self._square[:, columns] = torch.cat([self.gram.inner(some, some, own) for some in rows])
        self._spread[:, columns] = self.gram.spread(
            torch.stack([half.square().sum(1) for half in halves])
        )

    def _nearness(self) -> tuple[Tensor, Tensor]:
        """Estimates of the squared distance of crops that differ in rows, or in columns, alone."""
        rows, columns = self.lines
        middle = [
            int((line.lost - line.lost.double().mean()).abs().argmin()) for line in self.lines
        ]
        half, line = self._exact_half(middle[1]), rows.dense(middle[0]) @ self.picture
        of_rows = torch.stack([rows.dense(row) @ half for row in range(len(rows.margins))])
        of_columns = torch.stack(
            [line @ columns.dense(one).T for one in range(len(columns.margins))]
        )
        return _apart(_channels(of_rows)), _apart(of_columns)

    def _norms(self) -> Tensor:
        """The norm of the resize from each crop."""
        heights, widths = (
            {lost: line.side - lost for lost in line.lost.tolist()} for line in self.lines
        )
        resize = self.seen.metric.resize
        found = torch.zeros(self.open.shape, dtype=torch.float64)
        for down, across in product(heights, widths):
            at = (self.lines[0].lost == down)[:, None] & (self.lines[1].lost == across)
            found[at] = resize.norm((heights[down], widths[across]))
        return found


def spare_of(side: int, share: float, step: int) -> int:
    """The most pixels that margins take of ``side``, both ends together."""
    return int(side - math.ceil(share * side - 1e-9)) // step * step


def _half_of(picture: Tensor, columns: Line, column: int) -> Tensor:
    """N = X C^T, ``(h, 3 W)``: all channels of a row of the image side by side."""
    return (picture @ columns.dense(column).T).transpose(0, 1).flatten(1)


def _last(chosen: Tensor, lost: Tensor) -> int:
    """Of the ``chosen`` margins the ones that take the most."""
    return int(torch.where(chosen, lost, -1).argmax())


def _level(radius: float) -> int:
    """The power of :data:`GROWTH` that is at least ``radius``."""
    return math.ceil(math.log(radius, GROWTH))


def _channels(lines: Tensor) -> Tensor:
    """``(n, 3, H, W)`` of ``(n, H, 3 W)``."""
    height = lines.shape[1]
    return lines.view(len(lines), height, 3, -1).transpose(1, 2)


def _apart(inputs: Tensor) -> Tensor:
    """Squared distances of ``(n, 3, H, W)`` from each other, their channels' means left out."""
    flat = (inputs - inputs.mean((2, 3), keepdim=True)).flatten(1).float()
    products = flat @ flat.T
    lengths = products.diagonal()
    return (lengths[:, None] + lengths - 2 * products).clamp_min(0)
