"""The order in which a run sees its data: fixed by the seed, and found again at any point."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Sharded(Protocol[E_co]):
    """Entries in shards."""

    def shards(self) -> Sequence[str]: ...

    def entries(self, shard: str, /) -> Sequence[E_co]: ...


@dataclass(frozen=True)
class Cursor:
    """A place in the endless order. ``position`` counts the entries before it, of all epochs."""

    epoch: int = 0
    block: int = 0
    offset: int = 0
    position: int = 0


class ShuffledOrder(Generic[E]):
    """Endlessly many epochs of a sharded source, each shuffled anew.

    The shards are shuffled, then the entries of each ``mix`` shards that follow one another. The
    order depends on the source and ``seed`` alone, never on how many processes share the work, and
    the memory needed is that of one block of ``mix`` shards' entries.

    >>> class Letters:
    ...     def shards(self): return ["ab", "cd"]
    ...     def entries(self, shard): return list(shard)
    >>> order = ShuffledOrder(Letters(), seed=0, mix=2)
    >>> first, cursor = order.take(Cursor(), 3)
    >>> rest, cursor = order.take(cursor, 1)
    >>> sorted(first + rest), cursor
    (['a', 'b', 'c', 'd'], Cursor(epoch=1, block=0, offset=0, position=4))
    """

    def __init__(self, source: Sharded[E], *, seed: int, mix: int = 4) -> None:
        if mix < 1:
            raise ValueError(f"mix: expected at least 1 shard, found {mix}")
        self.source = source
        self.seed = seed
        self.mix = mix
        self._held: tuple[tuple[int, int], list[E]] | None = None

    def start(self) -> Cursor:
        """Where a run begins."""
        return Cursor()

    def held(self, cursor: Cursor) -> dict[str, Any]:
        """A cursor as what JSON can hold."""
        return asdict(cursor)

    def found(self, held: dict[str, Any]) -> Cursor:
        """The reverse of :meth:`held`."""
        return Cursor(**held)

    def take(self, cursor: Cursor, count: int) -> tuple[list[E], Cursor]:
        """The next ``count`` entries from ``cursor`` on, and where they end.

        Raises ``ValueError`` for a source without entries.
        """
        blocks = -(-len(self.source.shards()) // self.mix)
        epoch, block, offset = cursor.epoch, cursor.block, cursor.offset
        taken: list[E] = []
        barren = 0
        while len(taken) < count:
            entries = self._block(epoch, block)
            part = entries[offset : offset + count - len(taken)]
            taken += part
            offset += len(part)
            barren = 0 if entries else barren + 1
            if barren > blocks:
                raise ValueError("data: no images found in any shard")
            if offset == len(entries):
                block, offset = block + 1, 0
                if block == blocks:
                    epoch, block = epoch + 1, 0
        return taken, Cursor(epoch, block, offset, cursor.position + count)

    def _block(self, epoch: int, block: int) -> list[E]:
        if self._held is None or self._held[0] != (epoch, block):
            shards = self.source.shards()
            order = np.random.default_rng([self.seed, epoch]).permutation(len(shards))
            chosen = order[block * self.mix : (block + 1) * self.mix]
            entries = [entry for i in chosen for entry in self.source.entries(shards[i])]
            turns = np.random.default_rng([self.seed, epoch, block]).permutation(len(entries))
            self._held = ((epoch, block), [entries[i] for i in turns])
        return self._held[1]
