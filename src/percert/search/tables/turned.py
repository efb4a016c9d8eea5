"""What a store keeps of its rows for bounds of products: first coordinates, or whole, in 8 bits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.search.tables.principal_axes import GREATEST_NORM, LEAST_NORM, TURNED, Axes
from percert.search.tables.quantised import Slice, quantise
from percert.tensors import Embeddings, Vector


@dataclass(frozen=True, eq=False)
class Turned:
    """The unit rows [h; c] / |[h; c]| of a block along ``axes``, and ``whole`` where it is kept.

    Each of ``slices`` has the coordinates up to a cut, and as sides the length of the rest before
    them and behind. In the first, the coordinate of the metric's constant c stands for the rest
    before. ``whole`` is h along no axes; its sides begin with that coordinate, too. For the rows
    ``odd`` none of it is valid.
    """

    axes: Axes | None
    slices: tuple[Slice, ...]
    whole: Slice | None
    odd: Tensor

    @property
    def stages(self) -> tuple[Slice, ...]:
        """What a bound is made tighter by, one after the other."""
        return self.slices if self.whole is None else (*self.slices, self.whole)

    def of_view(self, place: int, views: int) -> "Turned":
        """Each image in one of its ``views`` alone; nothing is copied."""
        slices = tuple(one.of_view(place, views) for one in self.slices)
        whole = None if self.whole is None else self.whole.of_view(place, views)
        odd = self.odd[self.odd % views == place] // views
        return Turned(self.axes, slices, whole, odd)


class Turning:
    """Projects the rows of a collection onto ``axes``, part by part, into memory allocated once.

    Without axes, or with ``whole``, the rows themselves are kept in 8 bits as well.
    """

    def __init__(
        self, axes: Axes | None, rows: int, width: int, constant: float, *, whole: bool = False
    ) -> None:
        self.axes, self.constant, self.rows = axes, constant, rows
        cuts = () if axes is None else axes.cuts
        self.slices = tuple(
            Slice.empty(rows, end - start, 3)
            for start, end in zip((0, *cuts[:-1]), cuts, strict=False)
        )
        self.whole = Slice.empty(rows, width, 2) if whole or axes is None else None
        self._odd: list[Tensor] = []
        self._place = 0
        self._finite = True

    def add(self, embeddings: Embeddings, norms: Vector) -> None:
        """The next raw rows ``(m, k)`` float32, and |h| of each, float64."""
        for h, norm in zip(
            torch.split(embeddings, TURNED), torch.split(norms, TURNED), strict=True
        ):
            self._add(h, norm)

    def _add(self, h: Embeddings, norms: Vector) -> None:
        norm = torch.hypot(norms, torch.full_like(norms, self.constant))
        well = (norm >= LEAST_NORM) & (norm <= GREATEST_NORM)
        inverse = torch.where(well, 1 / norm, 0.0)
        if not bool(well.all()):
            self._odd.append(self._place + well.logical_not().nonzero()[:, 0])
            h = torch.where(well[:, None], h, 0.0)
        some = slice(self._place, self._place + len(h))
        last = (inverse * self.constant).float()
        unit = inverse.float()
        if self.whole is not None:
            self._keep(self.whole[some], h, unit, (last,))
        if self.axes is not None:
            # What the constant adds is a coordinate of its own, and no part of the rest.
            length = (norms * inverse).square() * (1 + 1e-9)
            turned = (h @ self.axes.basis).mul_(unit[:, None])
            before = last
            start = 0
            rests = rests_behind(turned, self.axes.cuts, length, self.axes.row_error())
            for kept, end, rest in zip(self.slices, self.axes.cuts, rests, strict=True):
                self._keep(kept[some], turned[:, start:end], torch.ones(()), (before, rest))
                start, before = end, rest
        self._place = some.stop

    def _keep(self, into: Slice, rows: Tensor, unit: Tensor, sides: tuple[Tensor, ...]) -> None:
        values, scale, error = quantise(rows)
        # A non-finite value makes its row's scale so.
        self._finite = self._finite and bool(scale.isfinite().all())
        into.keep(values)
        into.scale.copy_(scale * unit)
        into.sides.copy_(torch.stack([*sides, error * unit * (1 + 1e-6)]))

    def done(self) -> Turned | None:
        """All that was added; ``None`` where a row is not finite, which a query reports."""
        if not self.rows or not self._finite:
            return None
        odd = torch.cat(self._odd) if self._odd else torch.zeros(0, dtype=torch.long)
        return Turned(self.axes, self.slices, self.whole, odd)


def rests_behind(
    turned: Tensor, cuts: tuple[int, ...], length: Vector, error: float
) -> tuple[Tensor, ...]:
    """Upper bounds, float32, of the length of what lies behind each cut.

    Of rows with coordinates ``turned`` ``(m, d)``, each row off by ``error`` at most, and squared
    lengths ``length`` ``(m,)``, float64.
    """
    widths = [end - start for start, end in zip((0, *cuts), cuts, strict=False)]
    parts = torch.split(turned, widths, 1)
    # In float32 a sum of n squares is off by n 2^-24 of itself at most, and a little.
    known = torch.stack([part.square().sum(1) for part in parts]).double().cumsum(0)
    known *= 1 - (max(widths) + 8) * 2.0**-24
    known = (known.sqrt() - error).clamp_min(0).square()
    rests = (length - known).clamp_min(0).sqrt() * (1 + 1e-6) + 1e-9
    return rests.float().unbind()
