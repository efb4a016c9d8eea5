"""How far ``percert reproduce`` is, and how long it will take: on stderr, a bar or a line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from percert.cli.failure import complain
from percert.cli.progress import counting_bar

#: Takes what is being done, how much of it is done, and how much there is.
Watch: TypeAlias = Callable[[str, int, int], None]


class Pace:
    """How long the rest of a step takes, from how long what was done here took.

    >>> pace = Pace()
    >>> pace.left("a", 10, 40, now=100.0), pace.left("a", 20, 40, now=130.0)
    (None, 60.0)
    """

    def __init__(self) -> None:
        self._step, self._first, self._began = "", 0, 0.0

    def left(self, step: str, done: int, total: int, *, now: float) -> float | None:
        """Seconds to go; ``None`` as long as nothing was done since the step began."""
        if step != self._step or done < self._first:
            # What an earlier run has done already took no time now.
            self._step, self._first, self._began = step, done, now
        if done <= self._first:
            return None
        return (now - self._began) / (done - self._first) * (total - done)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def watching(item: str, every: float = 30.0) -> Iterator[Watch]:
    """A bar on stderr while ``item`` is made, or a line now and then where nobody watches."""
    bar = counting_bar()
    task = bar.add_task(item, total=None)
    pace, said = Pace(), time.perf_counter()

    def show(step: str, done: int, total: int) -> None:
        nonlocal said
        now = time.perf_counter()
        left = pace.left(step, done, total, now=now)
        bar.update(task, description=f"{item}: {step}", completed=done, total=total)
        if bar.disable and now - said > every:
            said = now
            rest = "" if left is None else f", about {duration(left)} to go"
            complain(f"{item}: {step}: {done} of {total}{rest}")

    with bar:
        yield show
