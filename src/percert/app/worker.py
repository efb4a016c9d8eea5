"""What runs inside a worker process: one computation after another, and what a job tells."""

import contextlib
import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from percert.app.errors import RefusedRequest, in_fields
from percert.app.images import Upload, write_picture
from percert.app.resources import Limits, Resources
from percert.attacks import Watch

#: What ends a computation that goes on; where nothing does, it is passed over.
STOP = "stop"
#: How a computation came to its end.
DONE, REFUSED, CANCELLED, FAILED = "done", "refused", "cancelled", "failed"
TOO_LARGE = "That needs more memory than there is."


class Cancelled(Exception):
    """Raised inside a computation that nobody wants any longer."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process is started with: limits, resources, and the folder it may write to."""

    limits: Limits
    resources: Resources
    folder: Path


@dataclass(frozen=True, eq=False)
class Worker(WorkerSettings):
    """The first argument of everything computed: the settings, and the connection to the server."""

    link: Connection

    def tell(self, kind: str, *said: Any) -> None:
        """Send the server a message, such as progress, before the result."""
        self.link.send((kind, said))

    def check(self) -> None:
        """Raise :class:`Cancelled` where the server has sent a stop, or is gone."""
        if self.link.poll(0):
            raise Cancelled


def work(descriptor: int) -> None:
    """Compute ``function(worker, *arguments)`` for each that comes, until the server is gone."""
    link = Connection(descriptor)
    with contextlib.suppress(OSError):
        # Where memory runs out, this process is ended rather than the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(EOFError, OSError):
        setting: WorkerSettings = link.recv()
        tempfile.tempdir = str(setting.folder)
        os.environ["MPLCONFIGDIR"] = str(setting.folder)
        logging.basicConfig(level=logging.WARNING)
        worker = Worker(setting.limits, setting.resources, setting.folder, link)
        while True:
            call = link.recv()
            if call != STOP:
                _compute(worker, *call)


def _compute(worker: Worker, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        worker.tell(DONE, function(worker, *arguments))
    except Cancelled:
        worker.tell(CANCELLED)
    except RefusedRequest as error:
        worker.tell(REFUSED, error.status, error.reason)
    except ValueError as error:
        worker.tell(REFUSED, 422, in_fields(error))
    except Exception as error:  # noqa: BLE001  # a defect: the server logs it, and the worker stays
        if _is_memory(error):
            worker.tell(REFUSED, 413, TOO_LARGE)
        else:
            worker.tell(FAILED, traceback.format_exc())


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out; torch's allocator for the CPU says so in words only.

    >>> _is_memory(MemoryError()), _is_memory(RuntimeError("you tried to allocate 9 bytes"))
    (True, True)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "tried to allocate" in str(error)


#: Seconds between two words on progress.
SPEAK = 0.1
PROGRESS, PICTURE = "progress", "picture"


class JobRun:
    """The computation of one job: its clock, its progress, and its folder for pictures.

    ``cut_short`` says that its time was over before the attack had come to its end: the result is
    the best until then.
    """

    def __init__(self, worker: Worker, folder: Path, seconds: float) -> None:
        self.worker, self.folder, self.seconds = worker, folder, seconds
        self.resources = worker.resources
        self.cut_short = False
        self._began = time.monotonic()
        self._spoken = float("-inf")
        self._doing = ""

    def watch(self, doing: str, part: int = 0, parts: int = 1) -> Watch:
        """The callback of an attack's iterations: progress, cancelling and the time limit.

        ``doing`` is what to say, ``part`` which of ``parts`` attacks of equal length this is.
        """

        def watch(done: int, total: int, active: int) -> bool:
            self.check()
            self._say(doing, part * total + min(done, total), parts * total)
            if time.monotonic() - self._began > self.seconds * (part + 1) / parts:
                self.cut_short = True
                return False
            return True

        return watch

    def say(self, doing: str) -> None:
        """Send progress without a count: only what is being done."""
        self._say(doing, 0, 0)

    def check(self) -> None:
        """Raise :class:`~percert.app.worker.Cancelled` where the job is not wanted any longer."""
        self.worker.check()

    def picture(self, name: str, image: Tensor, says: str, *, whole: bool = False) -> None:
        """Keep ``(3, h, w)`` as the picture ``name``, for people, or ``whole`` as it is."""
        self.check()
        with torch.no_grad():
            write_picture(image, self.folder / f"{name}.png", whole=whole)
        self.worker.tell(PICTURE, name, says)

    def _say(self, doing: str, done: int, total: int) -> None:
        now = time.monotonic()
        if doing != self._doing or now - self._spoken > SPEAK:
            self._doing, self._spoken = doing, now
            self.worker.tell(PROGRESS, doing, done, total)


def compute_job(
    worker: Worker,
    folder: Path,
    seconds: float,
    work: Callable[..., Any],
    uploads: Sequence[Upload],
) -> Any:
    """``work(run, *images)`` of a job's uploads."""
    pixels = worker.limits.pixels
    return work(JobRun(worker, folder, seconds), *(one.image(pixels) for one in uploads))
