"""One long computation: how far it is, what came of it, and how it is stopped."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from percert.app.pictures import write_picture
from percert.attacks import Watch

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


class Cancelled(Exception):
    """Raised inside a job that somebody cancelled."""


@dataclass(eq=False)
class Job:
    """A computation under way. Its thread writes it, everybody else reads, cancels, or expires it.

    ``folder`` is its own, for uploads and pictures. ``cut_short`` says that its time was over
    before the attack had come to its end: the result is the best until then.
    """

    id: str
    kind: str
    folder: Path
    seconds: float
    state: State = "waiting"
    done: int = 0
    total: int = 0
    doing: str = "waiting"
    cut_short: bool = False
    reason: str | None = None
    result: Any = None
    pictures: dict[str, str] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def over(self) -> bool:
        """Whether it has come to an end, of whatever kind."""
        return self.state in ENDED

    @property
    def took(self) -> float:
        """Seconds since it began to run, until now or its end."""
        if not self.began:
            return 0.0
        return (self.ended or time.monotonic()) - self.began

    def begin(self) -> None:
        """Go from waiting to running. :class:`Cancelled` where it is over already."""
        with self._lock:
            if self.over:
                raise Cancelled
            self.state, self.began = "running", time.monotonic()

    def end(self, state: State, *, result: Any = None, reason: str | None = None) -> None:
        """Come to an end; the first end counts."""
        with self._lock:
            if not self.over:
                self.result, self.reason = result, reason
                self.ended = time.monotonic()
                self.state = state

    def cancel(self, reason: str = "Cancelled.") -> None:
        """End it for everybody to see; its thread follows at the next iteration."""
        self._stop.set()
        self.end("cancelled", reason=reason)

    def expire(self) -> None:
        """Fail it for having taken too long."""
        self._stop.set()
        self.end("failed", reason=f"It took more than {self.seconds:g} seconds.")

    def watch(self, doing: str, part: int = 0, parts: int = 1) -> Watch:
        """What an attack calls each iteration: progress, cancelling, and the end of its time.

        ``doing`` is what to say, ``part`` which of ``parts`` attacks of equal length this is.
        """

        def watch(done: int, total: int, active: int) -> bool:
            self.check()
            self.doing = doing
            self.done, self.total = part * total + min(done, total), parts * total
            if time.monotonic() - self.began > self.seconds * (part + 1) / parts:
                self.cut_short = True
                return False
            return True

        return watch

    def check(self) -> None:
        """Raise :class:`Cancelled` where the job is not wanted any longer."""
        if self._stop.is_set():
            raise Cancelled

    def picture(self, name: str, image: Tensor, says: str, *, whole: bool = False) -> None:
        """Keep ``(3, h, w)`` as the picture ``name``, for people, or ``whole`` as it is."""
        self.check()
        with torch.no_grad():
            write_picture(image, self.folder / f"{name}.png", whole=whole)
        self.pictures[name] = says
