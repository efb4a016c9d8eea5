"""What a worker process does: it computes what it is sent, one thing after the other."""

import contextlib
import logging
import os
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from percert.app.limits import Limits
from percert.app.loaded import Loaded
from percert.app.refusal import Refused, in_fields

#: What ends a computation that goes on; where nothing does, it is passed over.
STOP = "stop"
#: How a computation came to its end.
DONE, REFUSED, CANCELLED, FAILED = "done", "refused", "cancelled", "failed"
TOO_LARGE = "That needs more memory than there is."


class Cancelled(Exception):
    """Raised inside a computation that nobody wants any longer."""


@dataclass(frozen=True)
class Setting:
    """What a worker knows from the beginning: limits, what is loaded, where it may write."""

    limits: Limits
    loaded: Loaded
    folder: Path


@dataclass(frozen=True, eq=False)
class Bench(Setting):
    """The first argument of all that is computed: the setting, and the link to the server."""

    link: Connection

    def tell(self, kind: str, *said: Any) -> None:
        """Say something before the end."""
        self.link.send((kind, said))

    def check(self) -> None:
        """Raise :class:`Cancelled` where the server says stop, or is gone."""
        if self.link.poll(0):
            raise Cancelled


def work(descriptor: int) -> None:
    """Compute ``function(bench, *arguments)`` for each that comes, until the server is gone."""
    link = Connection(descriptor)
    with contextlib.suppress(OSError):
        # Where memory runs out, this process is ended rather than the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(EOFError, OSError):
        setting: Setting = link.recv()
        tempfile.tempdir = str(setting.folder)
        os.environ["MPLCONFIGDIR"] = str(setting.folder)
        logging.basicConfig(level=logging.WARNING)
        bench = Bench(setting.limits, setting.loaded, setting.folder, link)
        while True:
            call = link.recv()
            if call != STOP:
                _compute(bench, *call)


def _compute(bench: Bench, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        bench.tell(DONE, function(bench, *arguments))
    except Cancelled:
        bench.tell(CANCELLED)
    except Refused as error:
        bench.tell(REFUSED, error.status, error.reason)
    except ValueError as error:
        bench.tell(REFUSED, 422, in_fields(error))
    except Exception as error:  # noqa: BLE001  # a defect: the server logs it, and the worker stays
        if _is_memory(error):
            bench.tell(REFUSED, 413, TOO_LARGE)
        else:
            bench.tell(FAILED, traceback.format_exc())


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out; torch's allocator for the CPU says so in words only.

    >>> _is_memory(MemoryError()), _is_memory(RuntimeError("you tried to allocate 9 bytes"))
    (True, True)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "tried to allocate" in str(error)
