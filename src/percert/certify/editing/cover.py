"""Regions of two and more parameters, covered by balls around edits in them.

An edit of the region is embedded, the anchor. All edits of the region in the ball that is proven
around it are done with, and the search goes on with what is left. What a budget leaves over is not
known; one anchor of which nothing is proven ends the search.
"""

import time
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.walk import Judge, proven_radius
from percert.tensors import Features

#: Anchors that are embedded together.
TOGETHER = 16

Anchor = TypeVar("Anchor")
Block = TypeVar("Block")


class Region(Protocol[Anchor]):
    """A set of edits, of which what is proven is taken away."""

    def take(self, most: int) -> list[Anchor]:
        """Where to look next, at up to ``most`` anchors; none where nothing is left."""
        ...

    def inputs(self, anchors: list[Anchor]) -> Features:
        """What the network sees of each."""
        ...

    def strike(self, anchor: Anchor, radius: float) -> bool:
        """Take away what is proven by all within ``radius`` of an anchor that was taken.

        False where nothing can be proven by it, nor by anchors next to it.
        """
        ...

    def edit(self, anchor: Anchor) -> tuple[float, ...]:
        """The parameters of the anchor."""
        ...


class Blocks(Protocol[Block]):
    """A set of edits in blocks that can be split; the blocks of ``start`` together hold all."""

    def start(self) -> list[Block]:
        """Blocks to begin with."""
        ...

    def inputs(self, blocks: list[Block]) -> Features:
        """What the network sees of one edit of each block, its anchor."""
        ...

    def rest(self, block: Block, radius: float) -> list[Block] | None:
        """What is left of ``block`` without all within ``radius`` of its anchor.

        In blocks; none where it was all, ``None`` where the rest can be split no further.
        """
        ...

    def edit(self, block: Block) -> tuple[float, ...]:
        """The parameters of the block's anchor."""
        ...


class BranchAndBound(Generic[Block]):
    """The region of ``blocks``: one that its anchor's ball does not hold is split."""

    def __init__(self, blocks: Blocks[Block]) -> None:
        self.blocks, self._waiting = blocks, blocks.start()
        self.inputs, self.edit = blocks.inputs, blocks.edit

    def take(self, most: int) -> list[Block]:
        """The blocks that came last: they are the smallest."""
        return [self._waiting.pop() for _ in range(min(most, len(self._waiting)))]

    def strike(self, block: Block, radius: float) -> bool:
        """Put back what is left of ``block``."""
        left = self.blocks.rest(block, radius)
        self._waiting += left or []
        return left is not None


@dataclass(frozen=True)
class Covered:
    """The result: whether all of a region is proven; ``open`` is an edit that is not.

    ``stopped`` as of a walk: "limit" (proven), "answer" (at ``open`` the answer is another one, or
    nothing is proven of it or of those next to it), "budget" (not known: too many evaluations, or
    too long).
    """

    proven: bool
    evaluations: int
    seconds: float
    stopped: Literal["limit", "answer", "budget"]
    open: tuple[float, ...] | None


def cover(
    region: Region[Anchor],
    seen: NetworkInput,
    judge: Judge,
    decision: Tensor,
    margin: float,
    *,
    budget: int,
    seconds: float,
) -> Covered:
    """Try to prove ``decision`` at every edit of ``region``, moved by ``margin`` besides."""
    began = time.perf_counter()
    evaluations = 0

    def end(stopped: Literal["limit", "answer", "budget"], anchor: Anchor | None = None) -> Covered:
        at = None if anchor is None else region.edit(anchor)
        taken = time.perf_counter() - began
        return Covered(stopped == "limit", evaluations, taken, stopped, at)

    while some := region.take(TOGETHER):
        if evaluations >= budget or time.perf_counter() - began > seconds:
            return end("budget", some[0])
        evaluations += len(some)
        radii = proven_radius(judge(seen.features(region.inputs(some))), decision) - margin
        for anchor, radius in zip(some, radii.tolist(), strict=True):
            if radius <= 0:
                return end("answer", anchor)
        for anchor, radius in zip(some, radii.tolist(), strict=True):
            if not region.strike(anchor, radius):
                return end("answer", anchor)
    return end("limit")
