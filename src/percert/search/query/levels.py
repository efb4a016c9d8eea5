"""Per-image thresholds in the prefilter: the least cosine at which each row can be a copy.

A query that turns by at most phi comes within the threshold t_r of row r only if its cosine with it
is now at least cos(A_r + phi) = (1 - t_r) cos phi - sqrt(1 - (1 - t_r)^2) sin phi, where A_r =
acos(1 - t_r). That is a product of two numbers of the row with two of the query, so one small
matrix product gives it for all rows of a block, to be subtracted from their cosines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from percert.certify.own_threshold import OwnThreshold
from percert.search.query.narrowing import Taken
from percert.search.tables.scan import Block
from percert.tensors import Vector

#: Thresholds of a block's rows are cached for so many rules.
RULES = 4


@dataclass(frozen=True, eq=False)
class Levels:
    """The own threshold of each of m rows: ``thresholds`` ``(m,)``, float64 distances in [0, 2].

    Rows that are not ``compared`` ``(m,)`` (bool, by default all are) can be no copies.
    """

    thresholds: Vector
    compared: Tensor | None = None

    @cached_property
    def widest(self) -> float:
        """The angle of the largest threshold, in radians."""
        if not len(self.thresholds):
            return 0.0
        return math.acos(min(1.0, max(-1.0, 1 - float(self.thresholds.max()))))

    @property
    def sides(self) -> Tensor:
        """Cosine and sine of each threshold's angle, ``(m, 2)`` float64."""
        level = 1 - self.thresholds.double()
        return torch.stack([level, (1 - level.square()).clamp_min(0).sqrt()], 1)

    @cached_property
    def _narrow(self) -> Tensor:
        found = self.sides.float()
        if self.compared is not None:  # no cosine reaches that
            found = torch.where(self.compared[:, None], found, found.new_tensor([9.0, 0.0]))
        return found.T.contiguous()

    def taken(self, swing: Tensor, some: slice) -> Taken:
        """The least cosines of copies, to be subtracted from those of the rows ``some``.

        ``swing`` ``(q, 2)`` is (cos phi, -sin phi) of each query. Rows that are not compared are
        left out where a query turns little; the caller has to pass over the others.
        """
        return Taken(self._narrow[:, some], swing.float().cpu().T)


def own_levels(block: Block, rule: OwnThreshold, places: Sequence[int] | None = None) -> Levels:
    """The own thresholds by ``rule`` of the rows of ``block``, or of its views at ``places`` alone.

    The last :data:`RULES` results are cached with the block.
    """
    every = tuple(range(block.views))
    wanted = every if places is None else tuple(places)
    held: dict[OwnThreshold, Levels] = block.once(("levels", wanted), dict)
    if rule not in held:
        for oldest in list(held)[: max(0, len(held) - RULES + 1)]:
            del held[oldest]
        held[rule] = _own_levels(block, rule, wanted)
    return held[rule]


def _own_levels(block: Block, rule: OwnThreshold, places: tuple[int, ...]) -> Levels:
    none = torch.zeros(len(block.norms), dtype=torch.float64)
    thresholds = rule.distances(none if block.likeness is None else block.likeness)
    if len(places) == block.views:
        return Levels(thresholds)
    mine = torch.zeros(block.views, dtype=torch.bool)
    mine[list(places)] = True
    return Levels(thresholds, mine.repeat(len(block.ids)))
