"""Per-row thresholds in the form that the prefilter subtracts from cosines.

A query that turns by at most phi comes within the threshold t_r of a row only if its cosine is now
at least cos(A_r + phi) = (1 - t_r) cos phi - sqrt(1 - (1 - t_r)^2) sin phi with A_r = acos(1 -
t_r): two numbers of the row with two of the query, taken off all cosines of a block at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from percert.certify.own_threshold import OwnThreshold
from percert.search.tables.scan import Block
from percert.tensors import Vector

#: Rules of which the thresholds of a block's rows are kept.
RULES = 4


@dataclass(frozen=True, eq=False)
class Levels:
    """``thresholds`` ``(m,)`` float64 are distances in [0, 2]. Rows not ``compared`` have none."""

    thresholds: Vector
    compared: Tensor | None = None

    @cached_property
    def widest(self) -> float:
        """The angle of the widest threshold."""
        if not len(self.thresholds):
            return 0.0
        return math.acos(min(1.0, max(-1.0, 1 - float(self.thresholds.max()))))

    @property
    def sides(self) -> Tensor:
        """``(m, 2)`` float64: 1 - t and sqrt(1 - (1 - t)^2)."""
        level = 1 - self.thresholds.double()
        return torch.stack([level, (1 - level.square()).clamp_min(0).sqrt()], 1)

    @cached_property
    def _narrow(self) -> Tensor:
        return self.sides.float()

    def taken(self, swing: Tensor, some: slice, dtype: torch.dtype) -> Tensor:
        """``(q, m)``: what is taken off the cosines of queries with (cos phi, -sin phi) ``swing``
        ``(q, 2)`` and the rows of ``some``: infinite for what is not compared.
        """
        if dtype == torch.float32 and swing.device.type == "cpu":
            found = swing.float() @ self._narrow[some].T
        else:
            found = (swing @ self.sides[some].to(swing).T).to(dtype)
        if self.compared is not None:
            found.masked_fill_(~self.compared[some].to(found.device), torch.inf)
        return found


def own_levels(block: Block, rule: OwnThreshold, places: Sequence[int] | None = None) -> Levels:
    """The levels by ``rule`` of the rows of ``block``, of the views at ``places`` alone if given.

    Those of the last :data:`RULES` rules are kept with the block.
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
