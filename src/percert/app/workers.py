"""A few worker processes, each behind a thread, and a line of limited length before them."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from percert.app.bench import Setting
from percert.app.child import Child
from percert.app.refusal import STOPPING, Refused

T = TypeVar("T")


class Workers:
    """``count`` computations at once, and at most ``waiting`` more in line.

    A computation gets the :class:`Child` that it may ask, and runs in that child's thread. The
    threads are daemons: one that does not come back cannot keep the process from ending.
    """

    def __init__(self, count: int, waiting: int, name: str, setting: Setting) -> None:
        self._line: queue.Queue[tuple[Future[Any], Callable[[Child], Any]] | None] = queue.Queue()
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

    def submit(self, work: Callable[[Child], T]) -> "Future[T]":
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
        """Take nothing more, drop what waits, end what runs."""
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

    def _work(self, setting: Setting) -> None:
        child = Child(setting)
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
    def _run(future: "Future[Any]", work: Callable[[Child], Any], child: Child) -> None:
        try:
            result = work(child)
        except BaseException as error:  # noqa: BLE001  # the one who waits for it decides
            future.set_exception(error)
        else:
            future.set_result(result)

    def _leave(self) -> None:
        with self._lock:
            self._held -= 1
