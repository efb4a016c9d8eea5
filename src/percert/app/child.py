"""A worker process as the server sees it: asked, heard, and ended where it does not answer."""

import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from percert.app.bench import CANCELLED, DONE, FAILED, REFUSED, STOP, Cancelled, Setting
from percert.app.nursery import nursery
from percert.app.refusal import Refused

#: Seconds between two looks at the clock, and that a computation is given to stop by itself.
LOOK, GRACE = 0.1, 3.0

Told = Callable[[str, tuple[Any, ...]], None]


class TookTooLong(Exception):
    """A computation that was ended because its time was over."""


class Defect(Exception):
    """A fault of percert's in a computation; the text is its traceback."""


def _unheard(kind: str, said: tuple[Any, ...]) -> None:
    """Nobody listens to what is said before the end."""


class Child:
    """One worker process, of one thread of the server. After it was ended, there is a new one."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._link: Connection | None = None
        self._process = 0

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        seconds: float,
        told: Told = _unheard,
        unwanted: Callable[[], bool] = lambda: False,
        closing: threading.Event | None = None,
    ) -> Any:
        """``function(bench, *arguments)``, computed there; what it says before goes to ``told``.

        Once it is ``unwanted``, it is told to stop, and ended if it does not; where the server is
        ``closing``, it is ended at once: :class:`Cancelled` both. After ``seconds`` it is ended,
        too: :class:`TookTooLong`. A refusal comes as it is raised there, a ``ValueError`` as one of
        422, anything else as a :class:`Defect`.
        """
        link = self._send((function, arguments))
        until, patience = time.monotonic() + seconds, float("inf")
        while True:
            try:
                message: tuple[str, tuple[Any, ...]] = link.recv() if link.poll(LOOK) else ("", ())
            except (EOFError, OSError):
                self.end()
                raise Refused(500, "The system ended it: it may need too much memory.") from None
            kind, said = message
            if kind == DONE:
                return said[0]
            if kind:
                _raise(kind, said)
                told(kind, said)
            now = time.monotonic()
            if now > until:
                self.end()
                raise TookTooLong
            if now > patience or (closing is not None and closing.is_set()):
                self.end()
                raise Cancelled
            if patience == float("inf") and unwanted():
                patience = now + GRACE
                link.send(STOP)

    def start(self) -> Connection:
        """Have the process ready; the link to it."""
        if self._link is None:
            mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with its:
                self._process = nursery().fork(its)
            self._link = Connection(mine.detach())
            self._link.send(self._setting)
        return self._link

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._link is not None:
            self._link.close()
            self._link = None
            nursery().end(self._process)

    def _send(self, call: tuple[Callable[..., Any], tuple[Any, ...]]) -> Connection:
        link = self.start()
        try:
            link.send(call)
        except OSError:  # it was ended by others while it had nothing to do
            self.end()
            link = self.start()
            link.send(call)
        return link


def _raise(kind: str, said: tuple[Any, ...]) -> None:
    """Raise what a computation came to, if that is an end without a result."""
    if kind == CANCELLED:
        raise Cancelled
    if kind == REFUSED:
        raise Refused(*said)
    if kind == FAILED:
        raise Defect(*said)
