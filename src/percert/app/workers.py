"""Worker processes as the server sees them, each behind a thread, and the queue before them."""

import collections
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from percert.app.errors import STOPPING, RefusedRequest
from percert.app.forkserver import fork_server
from percert.app.worker import CANCELLED, DONE, FAILED, REFUSED, STOP, Cancelled, WorkerSettings

#: Seconds between two looks at the clock, and that a computation is given to stop by itself.
LOOK, GRACE = 0.1, 3.0
#: Seconds for each thing that a process computes before anybody asks.
FIRST = 60.0

_log = logging.getLogger("percert.app")

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
        #: How many processes there were.
        self.starts = 0

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
                raise RefusedRequest(
                    500, "The system ended it: it may need too much memory."
                ) from None
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
            self.starts += 1
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
        raise RefusedRequest(*said)
    if kind == FAILED:
        raise Defect(*said)


T = TypeVar("T")


@dataclass(eq=False)
class Waiting:
    """What waits in line: the future result of ``work``.

    Those with equal ``like``, unless that is ``None``, may be computed in one pass: ``work`` of the
    first is given what all of them are, and says a result for each, or an exception.
    """

    future: Future[Any]
    work: Callable[..., Any]
    like: Hashable = None
    given: Any = None

    def alone(self) -> "Waiting":
        """The same, for a pass of its own."""
        return Waiting(self.future, self.work, None, self.given)


class Workers:
    """``count`` computations at once, and at most ``waiting`` more in the queue.

    A computation gets the :class:`WorkerProcess` that it may ask, and runs in that one's thread;
    up to ``together`` that are alike run in one pass (:meth:`submit_like`). ``passes`` counts the
    passes begun, ``answered`` what they were asked for. The threads are daemons: one that does not
    come back cannot keep the process from ending. ``first`` is what each process computes while
    nothing waits, one process at a time, so that what is slow only once is over before anybody
    asks; what goes wrong in it is left to those who ask.
    """

    def __init__(
        self,
        count: int,
        waiting: int,
        name: str,
        setting: WorkerSettings,
        together: int = 1,
        first: Sequence[Callable[..., None]] = (),
    ) -> None:
        self._line: collections.deque[Waiting] = collections.deque()
        self._changed = threading.Condition()
        self._held = 0
        self._most = count + waiting
        self._together = together
        self._first = first
        self._turn = threading.Lock()
        self.passes = self.answered = 0
        #: Set where the server ends: what still computes is to be ended.
        self.closing = threading.Event()
        self._children = [WorkerProcess(setting) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._work, args=(child,), name=f"{name}-{place}", daemon=True)
            for place, child in enumerate(self._children)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def held(self) -> int:
        """How many computations are under way or in line."""
        return self._held

    @property
    def restarts(self) -> int:
        """How many processes took the place of one that had ended."""
        return sum(max(0, child.starts - 1) for child in self._children)

    def submit(self, work: Callable[[WorkerProcess], T]) -> "Future[T]":
        """The future result of ``work``. :class:`RefusedRequest` (429) where the line is full."""
        return self._enter(Waiting(Future(), lambda child, given: [work(child)]))

    def submit_like(
        self, like: Hashable, work: Callable[[WorkerProcess, list[Any]], list[Any]], given: Any
    ) -> "Future[Any]":
        """The future result for ``given`` of ``work``, which takes along those in line like it.

        ``work(child, [given, ...])`` says a result or an exception for each. Where it fails itself,
        each goes through it once more, alone. :class:`RefusedRequest` (429) where the line is full.
        """
        return self._enter(Waiting(Future(), work, like, given))

    def _enter(self, entry: Waiting) -> "Future[Any]":
        with self._changed:
            if self.closing.is_set():
                raise RefusedRequest(429, STOPPING)
            if self._held >= self._most:
                raise RefusedRequest(
                    429, f"{self._held} requests are being worked on already: try again later."
                )
            self._held += 1
            self._line.append(entry)
            self._changed.notify()
        return entry.future

    def stop(self) -> None:
        """Take no more computations, drop those in the queue, end those that run."""
        with self._changed:
            self.closing.set()
            dropped = list(self._line)
            self._line.clear()
            self._held -= len(dropped)
            self._changed.notify_all()
        for entry in dropped:
            if not entry.future.cancel():  # it was tried with others, and waited for its own turn
                entry.future.set_exception(RefusedRequest(429, STOPPING))

    def close(self, seconds: float) -> bool:
        """:meth:`stop`, and give the threads ``seconds`` to come to their end; did they?"""
        self.stop()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, child: WorkerProcess) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):  # what is asked first tries again
                child.start()
            for function in self._first:
                self._compute_first(child, function)
            while entries := self._next():
                self._run(entries, child)
                del entries  # a thread that waits must not hold the last images
        finally:
            child.end()

    def _compute_first(self, child: WorkerProcess, function: Callable[..., None]) -> None:
        """Compute what comes before questions, one process at a time: the others stay free."""
        while not self._line and not self.closing.is_set():
            if self._turn.acquire(timeout=LOOK):
                try:
                    child.call(function, seconds=FIRST, closing=self.closing)
                except Exception:  # noqa: BLE001  # who asks for the same is told
                    _log.debug("before the first question", exc_info=True)
                finally:
                    self._turn.release()
                return

    def _next(self) -> list[Waiting]:
        """The first in line and those like it; nothing where the server ends."""
        with self._changed:
            while not self._line and not self.closing.is_set():
                self._changed.wait()
            if not self._line:
                return []
            first = self._line[0]
            like = [one for one in self._line if first.like is not None and one.like == first.like]
            taken = like[: self._together] or [first]
            for entry in taken:
                self._line.remove(entry)
            self.passes += 1
            self.answered += len(taken)
            return taken

    def _run(self, entries: list[Waiting], child: WorkerProcess) -> None:
        wanted = [
            one
            for one in entries
            if one.future.running() or one.future.set_running_or_notify_cancel()
        ]
        self._leave(len(entries) - len(wanted))
        if not wanted:
            return
        try:
            results = wanted[0].work(child, [one.given for one in wanted])
        except BaseException as error:  # noqa: BLE001  # the one who waits for it decides
            with self._changed:
                if len(wanted) > 1 and not self.closing.is_set():
                    self._line.extendleft(one.alone() for one in reversed(wanted))
                    self._changed.notify_all()
                    return
            results = [error] * len(wanted)
        self._leave(len(wanted))
        for one, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)

    def _leave(self, count: int) -> None:
        with self._changed:
            self._held -= count
