"""Certified range along a path of edits: step away from the neutral value while it is proven.

Between two values a and b the network's input stays within a remainder r of the line between those
at a and at b, d apart. With proven radii R_a and R_b around the two, less what else may move the
input, every point of the piece lies within one of the two balls where R_a - r > 0, R_b - r > 0 and
(R_a - r) + (R_b - r) > d. A piece for which that does not hold is halved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from percert.certify.certificate import Certificate
from percert.certify.editing.network_input import NetworkInput
from percert.certify.features import PixelFeatures
from percert.tensors import Features

#: The question: decisions and radii (in the units of the features) of edited images.
Judge = Callable[[PixelFeatures], Certificate]
#: Pieces that are looked at together.
TOGETHER = 16


class Path(Protocol):
    """Images edited by one parameter, such as :class:`~percert.certify.editing.blur.Blur`."""

    def image(self, t: float) -> Tensor:
        """The edited image, ``(3, h, w)`` in [0, 1]."""
        ...

    def inputs(self, values: list[float]) -> Features:
        """The network's inputs at ``values``, ``(n, 3, H, W)`` float64."""
        ...

    def remainder(self, a: float, b: float) -> float:
        """How far inputs between ``a`` and ``b`` leave the line between those at the two."""
        ...


@dataclass(frozen=True)
class Reached:
    """How far a walk came, and why it ``stopped``.

    "limit": all that was asked for is proven. "answer": next to it the answer changes, or nothing
    is proven. "budget": no more evaluations were allowed.
    """

    end: float | None
    evaluations: int
    stopped: Literal["limit", "answer", "budget"]


class Walk:
    """A walk along one path for one question; each value is computed once."""

    def __init__(
        self, path: Path, seen: NetworkInput, judge: Judge, decision: Tensor, margin: float
    ) -> None:
        self.path, self.seen, self.judge = path, seen, judge
        self.decision, self.margin = decision, margin
        self.inputs: dict[float, Tensor] = {}
        self.radius: dict[float, float] = {}

    def see(self, values: list[float]) -> None:
        """Embed and judge the edits at ``values``; one with another decision has radius 0."""
        new = sorted({value for value in values if value not in self.inputs})
        for begin in range(0, len(new), TOGETHER):
            some = new[begin : begin + TOGETHER]
            inputs = self.path.inputs(some)
            radii = proven_radius(self.judge(self.seen.features(inputs)), self.decision)
            for value, one, radius in zip(some, inputs, radii.tolist(), strict=True):
                self.inputs[value] = one
                self.radius[value] = radius - self.margin

    def proven(self, pieces: list[tuple[float, float]]) -> list[bool]:
        """Whether the answer stands at every value of each piece, whose ends have been judged."""
        if not pieces:
            return []
        differences = torch.stack([self.inputs[a] - self.inputs[b] for a, b in pieces])
        held = []
        for (a, b), d in zip(pieces, self.seen.length(differences).tolist(), strict=True):
            low = min(self.radius[a], self.radius[b])
            # What the remainder costs is looked at only where all the rest would do.
            enough = low > 0 and self.radius[a] + self.radius[b] > d
            if enough:
                r = self.path.remainder(a, b)
                enough = low > r and self.radius[a] + self.radius[b] - 2 * r > d * (1 + 1e-9)
            held.append(enough)
        return held

    def to(self, start: float, end: float, *, step: float, least: float, budget: int) -> Reached:
        """Walk from ``start`` towards ``end`` in steps of ``step``, halved down to ``least``."""
        before = len(self.inputs)
        count = max(1, round(abs(end - start) / step))
        values = [start + (end - start) * i / count for i in range(count)] + [end]
        open_pieces = list(pairwise(values))
        done: list[tuple[float, float]] = []
        self.see([start])
        if self.radius[start] <= 0:
            return Reached(None, len(self.inputs) - before, "answer")
        stopped: Literal["limit", "answer", "budget"] = "limit"
        while open_pieces:
            if len(self.inputs) - before >= budget:
                stopped = "budget"
                break
            some, open_pieces = open_pieces[:TOGETHER], open_pieces[TOGETHER:]
            self.see([value for piece in some for value in piece])
            again: list[tuple[float, float]] = []
            for piece, held in zip(some, self.proven(some), strict=True):
                if held:
                    done.append(piece)
                    continue
                a, b = piece
                if abs(b - a) > least:
                    middle = (a + b) / 2
                    again += [(a, middle), (middle, b)]
                if abs(b - a) <= least or self.radius[b] <= 0:
                    # Nothing behind this is reached without a gap.
                    stopped, open_pieces = "answer", []
                    break
            open_pieces = again + open_pieces
        return Reached(_joined(done, start, end), len(self.inputs) - before, stopped)


def proven_radius(certificate: Certificate, decision: Tensor) -> Tensor:
    """The radius of each row, 0 where the decision is not ``decision``."""
    same = certificate.decision == decision
    return torch.where(same, certificate.radius, torch.zeros_like(certificate.radius))


def _joined(pieces: list[tuple[float, float]], start: float, end: float) -> float:
    """Where the pieces that join ``start`` without a gap end."""
    at = start
    for a, b in sorted(pieces, reverse=end < start):
        if a != at:
            break
        at = b
    return at
