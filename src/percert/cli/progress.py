"""The progress bar on stderr, for people; a line now and then where nobody watches."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from percert.cli.command import complain

T = TypeVar("T")
#: Seconds between what is shown of one step: items may come by the hundred thousand.
OFTEN = 0.05


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


class Bar:
    """A bar on stderr while ``item`` is made; where nobody watches, a line now and then.

    Called with what is being done, how much of it is done, and how much there is.
    """

    def __init__(self, item: str = "", every: float = 30.0) -> None:
        self._item, self._every = item, every
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(item, total=None)
        self._pace, self._said = Pace(), time.perf_counter()
        self._shown: tuple[str, float] = "", 0.0

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if self._shown[0] == step and now - self._shown[1] < OFTEN and done < total:
            return
        self._shown = step, now
        what = ": ".join(filter(None, (self._item, step)))
        left = self._pace.left(step, done, total, now=now)
        self._bar.update(self._task, description=what, completed=done, total=total)
        if self._bar.disable and now - self._said > self._every:
            self._said = now
            rest = "" if left is None else f", about {duration(left)} to go"
            complain(f"{what}: {done} of {total}{rest}")

    def describe(self, text: str) -> None:
        """What is being done, for whoever watches, where it is no further yet."""
        self._bar.update(self._task, description=text)


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """``items``, with a :class:`Bar` on stderr while they last, where there are several.

    >>> list(with_progress("ab", 2, "spelling"))
    ['a', 'b']
    """
    if total < 2:
        yield from items
        return
    with Bar() as bar:
        for done, item in enumerate(items):
            bar(what, done, total)
            yield item
