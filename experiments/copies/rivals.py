"""What a certified rule is set beside in copies.rules: a partner, hashes, and levels of scores."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from experiments.copies.sets import (
    FIT_SETS,
    HASHED_OF,
    HASHES,
    PARTNER_OF,
    PARTNER_STRANGERS,
    STORED_SETS,
    Sets,
)
from percert.data.edit import Edit
from percert.search.partner.rule import likeness_to

PHOTOGRAPHS = STORED_SETS[0]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rival:
    """The partner or a hash: cosines of vectors, less ``weight`` times their likeness."""

    sets: Sets
    by: str
    weight: float = 0.0

    @cached_property
    def stored(self) -> Tensor:
        return self._unit(self.sets.described(PHOTOGRAPHS, self.place).rows)

    @property
    def place(self) -> str:
        """Where its vectors are kept."""
        return "hashes" if self.by in HASHES else self.by

    @cached_property
    def own(self) -> Tensor:
        if not self.weight:
            return torch.zeros(len(self.stored))
        parts = [self._unit(self.sets.described(name, self.by).rows) for name in FIT_SETS]
        return self.weight * likeness_to(self.stored, torch.cat(parts))

    def stranger_scores(self) -> Scores:
        asked = self._unit(self.sets.described(PARTNER_STRANGERS, self.place).rows)
        return (asked @ self.stored.T - self.own).numpy()

    @cache  # noqa: B019
    def copy_scores(self, edit: Edit) -> Scores:
        """The score of each of the first photographs, edited, with its own original."""
        count = HASHED_OF if self.by in HASHES else PARTNER_OF
        asked = self._unit(self.sets.described_edit(edit, self.place, count).rows)
        return ((asked * self.stored[: len(asked)]).sum(1) - self.own[: len(asked)]).numpy()

    def _unit(self, rows: Scores) -> Tensor:
        bits = slice(*HASHES[self.by]) if self.by in HASHES else slice(None)
        return torch.nn.functional.normalize(torch.from_numpy(rows[:, 0, bits]), dim=1)


def level_at(strangers: Scores, rate: float) -> float:
    """What at most a share ``rate`` of the scores exceeds."""
    allowed = int(rate * strangers.size * (1 + 1e-12))
    ranked = np.partition(strangers.ravel(), strangers.size - 1 - allowed)
    return float(ranked[strangers.size - 1 - allowed])
