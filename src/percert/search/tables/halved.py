"""bfloat16 copies of the rows, half as many bytes, for queries that have to look at all of them.

bfloat16 has the exponents of float32 and 8 bits of each value. How far that moves a row is measured
row by row, which gives a proven bound of the error of a product
(:mod:`percert.search.query.halves`); only rows that it cannot decide are read in full.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.search.tables.principal_axes import GREATEST_NORM, LEAST_NORM
from percert.tensors import Embeddings, Vector

#: Rows that are halved at once.
AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Halved:
    """Unit vectors [h; c] / |[h; c]| in bfloat16, and how far they are off.

    ``rows`` ``(m, k)`` are the part of h, ``last`` ``(m,)`` float32 that of c. No row is farther
    than ``error`` from its exact part.
    """

    rows: Tensor
    last: Tensor
    error: float


class Halving:
    """Rounds the rows of a collection to bfloat16, part by part."""

    def __init__(self, rows: int, width: int, constant: float) -> None:
        self.constant, self.rows = constant, rows
        self._rows = torch.empty(rows, width, dtype=torch.bfloat16)
        self._last = torch.empty(rows)
        self._error, self._place = 0.0, 0
        self._plain = True

    def add(self, embeddings: Embeddings, norms: Vector) -> None:
        """The next raw rows ``(m, k)`` float32, and |h| of each, float64."""
        for h, length in zip(
            torch.split(embeddings, AT_ONCE), torch.split(norms, AT_ONCE), strict=True
        ):
            norm = torch.hypot(length, torch.full_like(length, self.constant))
            self._plain &= bool(((norm >= LEAST_NORM) & (norm <= GREATEST_NORM)).all())
            if not self._plain:
                return
            exact, some = h.double() / norm[:, None], slice(self._place, self._place + len(h))
            self._rows[some] = exact.bfloat16()
            self._last[some] = (self.constant / norm).float()
            moved = (exact - self._rows[some].double()).norm(dim=1)
            self._plain &= bool(moved.isfinite().all())
            self._error = max(self._error, float(moved.max()) if len(moved) else 0.0)
            self._place = some.stop

    def done(self) -> Halved | None:
        """All that was added; ``None`` where the norm of a row is extreme, or not finite."""
        if not self.rows or not self._plain:
            return None
        return Halved(self._rows, self._last, self._error + 1e-12)
