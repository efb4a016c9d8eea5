"""The progress bar on stderr, for people; a line now and then where nobody watches."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from percert.cli.command import complain

T = TypeVar("T")


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """``items``, with a bar on stderr while they last, where somebody watches and there are many.

    >>> list(with_progress("ab", 2, "spelling"))
    ['a', 'b']
    """
    yield from track(
        items,
        description=what,
        total=total,
        console=Console(stderr=True),
        transient=True,
        disable=total < 2 or not sys.stderr.isatty(),
    )


def counting_bar(*, time_left: bool = True) -> Progress:
    """A bar on stderr that says how many of how many; ``disable`` is set where nobody watches."""
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
    ]
    if time_left:
        columns.append(TimeRemainingColumn())
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextlib.contextmanager
def counted_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar on stderr, where somebody watches."""
    hidden = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


@contextmanager
def stepping(every: float = 30.0) -> Iterator[Callable[[str, int, int], None]]:
    """A function of (step, done, total) that keeps a bar on stderr, or says a line now and then."""
    bar = counting_bar(time_left=False)
    task = bar.add_task("", total=None)
    said = time.perf_counter()

    def show(step: str, done: int, total: int) -> None:
        nonlocal said
        bar.update(task, description=step, completed=done, total=total)
        if bar.disable and time.perf_counter() - said > every:
            said = time.perf_counter()
            complain(f"{step}: {done} of {total}")

    with bar:
        yield show
