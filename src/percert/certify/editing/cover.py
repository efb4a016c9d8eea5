"""Proves an answer for a whole region of edits, by covering it with certified balls.

One edit of the region, the anchor, is embedded. Its certified radius proves all edits of the region
that lie within that ball; they are removed, and the search goes on with the rest. It ends when
nothing is left (proven), when an anchor has no radius (the answer changes), or when the budget is
spent (what is left is not known).
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.walk import Judge, proven_radius
from percert.tensors import Features

#: Anchors that are embedded together.
TOGETHER = 16

Anchor = TypeVar("Anchor")
Block = TypeVar("Block")


class Region(Protocol[Anchor]):
    """A region of edits, from which proven edits are removed step by step."""

    def take(self, most: int) -> list[Anchor]:
        """Up to ``most`` anchors to embed next; none where nothing is left.

        Asked for before those taken last are struck; none, too, where it is better to wait for
        what these prove.
        """
        ...

    def inputs(self, anchors: list[Anchor]) -> Features:
        """The network's inputs for the anchors; called by another thread."""
        ...

    def strike(self, anchor: Anchor, radius: float) -> bool:
        """Remove all edits that the ball of ``radius`` around ``anchor`` proves.

        Returns False where neither the anchor nor its neighbours can be proven.
        """
        ...

    def edit(self, anchor: Anchor) -> tuple[float, ...]:
        """The parameters of the anchor."""
        ...


class Blocks(Protocol[Block]):
    """A region in blocks that can be split; the blocks of ``start`` cover it."""

    def start(self) -> list[Block]:
        """The first blocks."""
        ...

    def inputs(self, blocks: list[Block]) -> Features:
        """The network's inputs for one edit of each block, its anchor."""
        ...

    def rest(self, block: Block, radius: float) -> list[Block] | None:
        """The part of ``block`` outside of the ball of ``radius`` around its anchor, as blocks.

        None where the ball covers the block; ``None`` where the rest cannot be split further.
        """
        ...

    def edit(self, block: Block) -> tuple[float, ...]:
        """The parameters of the block's anchor."""
        ...


class BranchAndBound(Generic[Block]):
    """The region of ``blocks``: a block that its anchor's ball does not cover is split."""

    def __init__(self, blocks: Blocks[Block]) -> None:
        self.blocks, self._waiting = blocks, blocks.start()
        self.inputs, self.edit = blocks.inputs, blocks.edit

    def take(self, most: int) -> list[Block]:
        """The last blocks, which are the smallest."""
        return [self._waiting.pop() for _ in range(min(most, len(self._waiting)))]

    def strike(self, block: Block, radius: float) -> bool:
        """Put back what is left of ``block``."""
        left = self.blocks.rest(block, radius)
        self._waiting += left or []
        return left is not None


@dataclass(frozen=True)
class Covered:
    """The result: whether all of a region is ``proven``; ``open`` is an edit that is not.

    ``stopped`` says why: "limit" (all is proven), "answer" (at ``open``, or next to it, the answer
    changes or nothing is proven), "budget" (not known: too many evaluations, or too long).
    """

    proven: bool
    evaluations: int
    seconds: float
    stopped: Literal["limit", "answer", "budget"]
    open: tuple[float, ...] | None


@contextlib.contextmanager
def _half_of_the_threads() -> Iterator[None]:
    """Let each of two threads that compute side by side have half of torch's own."""
    count = torch.get_num_threads()
    torch.set_num_threads(max(1, count // 2))
    try:
        yield
    finally:
        torch.set_num_threads(count)


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
    """Try to prove ``decision`` for every edit of ``region``, each moved by ``margin`` besides.

    While anchors are embedded, by another thread, what those before them prove is removed.
    """
    began = time.perf_counter()
    evaluations = 0

    def end(stopped: Literal["limit", "answer", "budget"], anchor: Anchor | None = None) -> Covered:
        at = None if anchor is None else region.edit(anchor)
        taken = time.perf_counter() - began
        return Covered(stopped == "limit", evaluations, taken, stopped, at)

    def spent() -> bool:
        return evaluations >= budget or time.perf_counter() - began > seconds

    def radii(anchors: list[Anchor]) -> list[float]:
        certificate = judge(seen.features(region.inputs(anchors)))
        return (proven_radius(certificate, decision) - margin).tolist()

    with _half_of_the_threads(), ThreadPoolExecutor(1) as other:
        some = region.take(TOGETHER)
        while some:
            if spent():
                return end("budget", some[0])
            found = other.submit(radii, some)
            while some:
                ahead = region.take(TOGETHER)
                radius_of = list(zip(some, found.result(), strict=True))
                evaluations += len(some)
                for anchor, radius in radius_of:
                    if radius <= 0:
                        return end("answer", anchor)
                if ahead and spent():
                    return end("budget", ahead[0])
                if ahead:
                    found = other.submit(radii, ahead)
                for anchor, radius in radius_of:
                    if not region.strike(anchor, radius):
                        return end("answer", anchor)
                some = ahead
            # Nothing was left but what those before might have proven.
            some = region.take(TOGETHER)
    return end("limit")
