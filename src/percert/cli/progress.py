"""A progress bar on stderr, for people only."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

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
