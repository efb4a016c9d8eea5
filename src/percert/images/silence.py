"""Keep what pillow and libtiff say by themselves off stderr."""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator

_lock = threading.Lock()
_inside = 0
_saved: "warnings.catch_warnings[None] | None" = None


@contextlib.contextmanager
def without_pillow_warnings() -> Iterator[None]:
    """Silence warnings that are raised in pillow's own modules, and no others.

    Several threads may be inside at once: the first one in saves the filters and the last one out
    restores them. (One ``catch_warnings`` in each would restore them in the wrong order.)
    """
    global _inside, _saved
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                _saved.__exit__(None, None, None)
                _saved = None


@contextlib.contextmanager
def without_libtiff_errors() -> Iterator[None]:
    """Silence the lines that libtiff writes straight to file descriptor 2.

    Pillow has no setting for them. The descriptor belongs to the whole process, so it is turned
    aside only where no other Python thread could lose a line by it; else the lines are let through.
    """
    if threading.active_count() > 1:
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # the process runs without a stderr: nothing to silence
        yield
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
