"""Waiting in tests, with patience: a busy machine may be many times slower than an idle one."""

import time
from collections.abc import Callable

#: Seconds after which what has not happened is taken never to happen.
PATIENCE = 300.0


def wait_until(happened: Callable[[], object], pause: float = 0.02) -> None:
    """Ask again and again until it has happened; ``AssertionError`` where it does not."""
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, f"it has not happened within {PATIENCE:g} seconds"
        time.sleep(pause)
