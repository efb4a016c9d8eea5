"""Worker processes as the server sees them, each behind a thread, and the queue before them."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from percert.app.errors import STOPPING, Refused
from percert.app.forkserver import fork_server
from percert.app.worker import CANCELLED, DONE, FAILED, REFUSED, STOP, Cancelled, WorkerSettings

#: Seconds between two looks at the clock, and that a computation is given to stop by itself.
LOOK, GRACE = 0.1, 3.0

Told = Callable[[str, tuple[Any, ...]], None]


class TookTooLong(Exception):
    """A computation that was ended because it exceeded its time."""


class Defect(Exception):
    """An unexpected exception in a computation; the text is its traceback."""


def _unheard(kind: str, said: tuple[Any, ...]) -> None:
    """Ignore messages that come before the result."""


class WorkerProcess:
    """One worker process of one thread of the server; after an end a new one is forked."""

    def __init__(self, setting: WorkerSettings) -> None:
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
        """``function(worker, *arguments)``, computed there; what it says before goes to ``told``.

        Once it is ``unwanted``, it is told to stop, and ended if it does not; where the server is
        ``closing``, it is ended at once: :class:`Cancelled` both. After ``seconds`` it is ended,
        too: :class:`TookTooLong`. A refusal comes as it is raised there, a ``ValueError`` as one of
        422, anything else as a :class:`Defect`.
        """
        link = self._send((function, arguments))
        until, stopping = time.monotonic() + seconds, float("inf")
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
            if now > stopping or (closing is not None and closing.is_set()):
                self.end()
                raise Cancelled
            if stopping == float("inf") and unwanted():
                stopping = now + GRACE
                link.send(STOP)

    def start(self) -> Connection:
        """Fork the process if there is none; the connection to it."""
        if self._link is None:
            mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with its:
                self._process = fork_server().fork(its)
            self._link = Connection(mine.detach())
            self._link.send(self._setting)
        return self._link

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._link is not None:
            self._link.close()
            self._link = None
            fork_server().end(self._process)

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
    """Raise the error that a computation ended with, if it did."""
    if kind == CANCELLED:
        raise Cancelled
    if kind == REFUSED:
        raise Refused(*said)
    if kind == FAILED:
        raise Defect(*said)


T = TypeVar("T")


class Workers:
    """``count`` computations at once, and at most ``waiting`` more in the queue.

    A computation gets the :class:`WorkerProcess` that it may ask, and runs in that one's thread.
    The threads are daemons: one that does not come back cannot keep the process from ending.
    """

    def __init__(self, count: int, waiting: int, name: str, setting: WorkerSettings) -> None:
        self._line: queue.Queue[tuple[Future[Any], Callable[[WorkerProcess], Any]] | None] = (
            queue.Queue()
        )
        self._lock = threading.Lock()
        self._held = 0
        self._most = count + waiting
        #: Set where the server ends: what still computes is to be ended.
        self.closing = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._work, args=(setting,), name=f"{name}-{place}", daemon=True
            )
            for place in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def held(self) -> int:
        """How many computations are under way or in line."""
        return self._held

    def submit(self, work: Callable[[WorkerProcess], T]) -> "Future[T]":
        """The future result of ``work``. :class:`Refused` (429) where the line is full."""
        with self._lock:
            if self.closing.is_set():
                raise Refused(429, STOPPING)
            if self._held >= self._most:
                raise Refused(
                    429, f"{self._held} requests are being worked on already: try again later."
                )
            self._held += 1
        future: Future[T] = Future()
        self._line.put((future, work))
        return future

    def stop(self) -> None:
        """Take no more computations, drop those in the queue, end those that run."""
        with self._lock:
            if self.closing.is_set():
                return
            self.closing.set()
        while True:
            try:
                entry = self._line.get_nowait()
            except queue.Empty:
                break
            if entry is not None:
                entry[0].cancel()
                self._leave()
        for _ in self._threads:
            self._line.put(None)

    def close(self, seconds: float) -> bool:
        """:meth:`stop`, and give the threads ``seconds`` to come to their end; did they?"""
        self.stop()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, setting: WorkerSettings) -> None:
        child = WorkerProcess(setting)
        try:
            with contextlib.suppress(OSError, EOFError):  # what is asked first tries again
                child.start()
            while (entry := self._line.get()) is not None:
                future, work = entry
                try:
                    if future.set_running_or_notify_cancel():
                        self._run(future, work, child)
                finally:
                    self._leave()
                    del entry, future, work  # a thread that waits must not hold the last images
        finally:
            child.end()

    @staticmethod
    def _run(
        future: "Future[Any]", work: Callable[[WorkerProcess], Any], child: WorkerProcess
    ) -> None:
        try:
            result = work(child)
        except BaseException as error:  # noqa: BLE001  # the one who waits for it decides
            future.set_exception(error)
        else:
            future.set_result(result)

    def _leave(self) -> None:
        with self._lock:
            self._held -= 1
