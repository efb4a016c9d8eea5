"""A progress bar on stderr, for people only."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
