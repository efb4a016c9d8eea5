"""Several ordered sets as one: in a fixed pattern of turns."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from percert.training.sources.order import Cursor, ShuffledOrder


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

    def held(self, cursor: MixedCursor) -> dict[str, Any]:
        return asdict(cursor)

    def found(self, held: dict[str, Any]) -> MixedCursor:
        """The reverse of :meth:`held`, after a trip through JSON."""
        return MixedCursor(tuple(Cursor(**part) for part in held["parts"]), held["position"])
