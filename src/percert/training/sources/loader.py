"""Batches: read and prepared ahead of the training by threads, in an order that threads keep."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

E = TypeVar("E")
S = TypeVar("S")

#: Batches that are prepared ahead.
AHEAD = 3


class Cursors(Protocol):
    """Places in an endless order, which go through JSON: ``held`` gives what ``found`` takes."""

    def start(self) -> Any: ...

    def held(self, cursor: Any, /) -> dict[str, Any]: ...

    def found(self, held: dict[str, Any], /) -> Any: ...


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
