"""The data loader: endless batches in a shuffled order, which a cursor takes up at any point.

The order is fixed by the seed and does not depend on how many processes or threads share the work.
Threads read and prepare batches ahead of the training.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Sharded(Protocol[E_co]):
    """A source of entries in shards, such as the images of a tar."""

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
        """The cursor of a run's beginning."""
        return Cursor()

    def to_json(self, cursor: Cursor) -> dict[str, Any]:
        """A cursor as what JSON can hold."""
        return asdict(cursor)

    def from_json(self, held: dict[str, Any]) -> Cursor:
        """The reverse of :meth:`to_json`."""
        return Cursor(**held)

    def take(self, cursor: Cursor, count: int) -> tuple[list[E], Cursor]:
        """The next ``count`` entries from ``cursor`` on, and where they end.

        Raises ``ValueError`` for a source without entries.
        """
        blocks = -(-len(self.source.shards()) // self.mix)
        epoch, block, offset = cursor.epoch, cursor.block, cursor.offset
        taken: list[E] = []
        empty_blocks = 0
        while len(taken) < count:
            entries = self._block(epoch, block)
            part = entries[offset : offset + count - len(taken)]
            taken += part
            offset += len(part)
            empty_blocks = 0 if entries else empty_blocks + 1
            if empty_blocks > blocks:
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


@dataclass(frozen=True)
class MixedCursor:
    """A place in each of the sets, and how many entries came before it in all."""

    parts: tuple[Cursor, ...]
    position: int = 0


class MixedOrder:
    """Entries ``(set, entry)`` from several orders; of every ``sum(shares)``, ``shares[i]`` of i.

    >>> class Letters:
    ...     def __init__(self, letters): self.letters = letters
    ...     def shards(self): return [self.letters]
    ...     def entries(self, shard): return list(shard)
    >>> orders = [ShuffledOrder(Letters(letters), seed=0) for letters in ("ab", "x")]
    >>> mixed = MixedOrder(orders, [2, 1])
    >>> taken, _ = mixed.take(mixed.start(), 6)
    >>> [(which, entry) for which, entry in taken if which]
    [(1, 'x'), (1, 'x')]
    """

    def __init__(self, orders: Sequence[ShuffledOrder[Any]], shares: Sequence[int]) -> None:
        self.orders = list(orders)
        self.pattern = [i for i, share in enumerate(shares) for _ in range(share)]

    def start(self) -> MixedCursor:
        return MixedCursor(tuple(Cursor() for _ in self.orders))

    def take(self, cursor: MixedCursor, count: int) -> tuple[list[tuple[int, Any]], MixedCursor]:
        """The next ``count`` entries from ``cursor`` on, and where they end."""
        size = len(self.pattern)
        turns = [self.pattern[(cursor.position + i) % size] for i in range(count)]
        found, parts = [], []
        for which, (order, part) in enumerate(zip(self.orders, cursor.parts, strict=True)):
            entries, after = order.take(part, turns.count(which))
            found.append(iter(entries))
            parts.append(after)
        taken = [(which, next(found[which])) for which in turns]
        return taken, MixedCursor(tuple(parts), cursor.position + count)

    def to_json(self, cursor: MixedCursor) -> dict[str, Any]:
        return asdict(cursor)

    def from_json(self, held: dict[str, Any]) -> MixedCursor:
        """The reverse of :meth:`to_json`, after a trip through JSON."""
        return MixedCursor(tuple(Cursor(**part) for part in held["parts"]), held["position"])


S = TypeVar("S")

#: Batches that are prepared ahead.
AHEAD = 3


class Cursors(Protocol):
    """Places in an endless order, as what JSON can hold and back."""

    def start(self) -> Any: ...

    def to_json(self, cursor: Any, /) -> dict[str, Any]: ...

    def from_json(self, held: dict[str, Any], /) -> Any: ...


class Order(Cursors, Protocol[E]):
    """An endless order of entries, which is taken up at a cursor.

    A cursor counts the entries before it as ``position``.
    """

    def take(self, cursor: Any, count: int, /) -> tuple[list[E], Any]: ...


@dataclass(frozen=True)
class Loader(Generic[E, S]):
    """Endless batches of prepared samples for process ``rank`` of ``world``.

    ``batch`` samples a process; the processes share one global batch of ``batch * world``, of which
    each takes its own slice. ``prepare(entry, generator)`` makes a sample, with random numbers that
    depend on ``seed`` and the sample's position in the run alone: two processes see, together, what
    one with the doubled batch sees. ``workers`` threads prepare.
    """

    order: Order[E]
    prepare: Callable[[E, np.random.Generator], S]
    batch: int
    seed: int
    rank: int = 0
    world: int = 1
    workers: int = 2

    def batches(self, start: Any) -> Generator[tuple[list[S], Any], None, None]:
        """Each batch with the cursor after it, from ``start`` on, without end.

        What reading or preparing raises is raised here. Close the iterator to end the threads.
        """
        cursor = start
        waiting: deque[tuple[list[Future[S]], Any]] = deque()
        with ThreadPoolExecutor(max(1, self.workers), "percert-data") as pool:
            try:
                while True:
                    while len(waiting) < AHEAD:
                        whole, after = self.order.take(cursor, self.batch * self.world)
                        first = self.rank * self.batch
                        futures = [
                            pool.submit(self._one, entry, cursor.position + first + i)
                            for i, entry in enumerate(whole[first : first + self.batch])
                        ]
                        waiting.append((futures, after))
                        cursor = after
                    futures, after = waiting.popleft()
                    yield [future.result() for future in futures], after
            finally:
                for futures, _ in waiting:
                    for future in futures:
                        future.cancel()

    def _one(self, entry: E, position: int) -> S:
        return self.prepare(entry, np.random.default_rng([self.seed, 7, position]))
