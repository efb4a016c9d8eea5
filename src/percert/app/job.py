"""One long computation as the server sees it: how far it is, and what came of it."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from percert.app.bench import Cancelled
from percert.app.run import PICTURE, PROGRESS

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(eq=False)
class Job:
    """A computation under way. Its thread writes it, everybody else reads or cancels it.

    ``folder`` is its own, for uploads and pictures; ``seconds`` is its time. ``answer`` names the
    page's answer that it attacks, ``question`` what that answered.
    """

    id: str
    kind: str
    folder: Path
    seconds: float
    state: State = "waiting"
    done: int = 0
    total: int = 0
    doing: str = "waiting"
    reason: str | None = None
    result: Any = None
    answer: str | None = None
    question: Any = None
    pictures: dict[str, str] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
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
        """End it for everybody to see; its computation is told to stop."""
        self.end("cancelled", reason=reason)

    def hear(self, kind: str, said: tuple[Any, ...]) -> None:
        """Take down what its computation tells: progress, and pictures that are there."""
        if kind == PROGRESS:
            self.doing, self.done, self.total = said
        elif kind == PICTURE:
            name, says = said
            self.pictures[name] = says
