"""Branch and bound: a region of two or more parameters, covered by balls around edits in it.

A block of the region has an edit in it as its anchor. Every edit of the block lies in the ball that
is proven around the anchor, or what is left of it is split. What cannot be split, or what a budget
leaves over, is not known; one anchor of which nothing is proven ends the search.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.walk import Judge, proven_radius
from percert.tensors import Features

#: Blocks whose anchors are embedded together.
TOGETHER = 16

Block = TypeVar("Block")


class Region(Protocol[Block]):
    """A set of edits in blocks; the blocks of ``start`` together hold all of it."""

    def start(self) -> list[Block]:
        """Blocks to begin with."""
        ...

    def anchors(self, blocks: list[Block]) -> Features:
        """The network's input for one edit of each block."""
        ...

    def rest(self, block: Block, anchor: Tensor, radius: float) -> list[Block] | None:
        """What is left of ``block`` without all within ``radius`` of ``anchor`` ``(3, H, W)``.

        In blocks; none where it was all, ``None`` where the rest can be split no further.
        """
        ...

    def edit(self, block: Block) -> tuple[float, ...]:
        """The parameters of the block's anchor."""
        ...


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
    region: Region[Block],
    seen: NetworkInput,
    judge: Judge,
    decision: Tensor,
    margin: Callable[[Block], float],
    *,
    budget: int,
    seconds: float,
) -> Covered:
    """Try to prove ``decision`` at every edit of ``region``."""
    began = time.perf_counter()
    waiting = region.start()
    evaluations = 0

    def end(stopped: Literal["limit", "answer", "budget"], block: Block | None = None) -> Covered:
        at = None if block is None else region.edit(block)
        taken = time.perf_counter() - began
        return Covered(stopped == "limit", evaluations, taken, stopped, at)

    while waiting:
        if evaluations >= budget or time.perf_counter() - began > seconds:
            return end("budget", waiting[-1])
        some = [waiting.pop() for _ in range(min(TOGETHER, len(waiting)))]
        anchors = region.anchors(some)
        evaluations += len(some)
        radii = proven_radius(judge(seen.features(anchors)), decision).tolist()
        left = [radius - margin(block) for radius, block in zip(radii, some, strict=True)]
        for block, radius in zip(some, left, strict=True):
            if radius <= 0:
                return end("answer", block)
        for block, anchor, radius in zip(some, anchors, left, strict=True):
            left_over = region.rest(block, anchor, radius)
            if left_over is None:
                return end("answer", block)
            waiting += left_over
    return end("limit")
