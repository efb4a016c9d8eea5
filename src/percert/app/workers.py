"""A few threads that compute, and a line of limited length before them."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from percert.app.refusal import Refused

T = TypeVar("T")


class Workers:
    """``threads`` computations at once, and at most ``waiting`` more in line.

    The threads are daemons: one that does not come back cannot keep the process from ending.
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._line: queue.Queue[tuple[Future[Any], Callable[[], Any]] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._held = 0
        self._most = threads + waiting
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{place}", daemon=True)
            for place in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def held(self) -> int:
        """How many computations are under way or in line."""
        return self._held

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """The future result of ``work``. :class:`Refused` (429) where the line is full."""
        with self._lock:
            if self._closed:
                raise Refused(429, "The server is stopping.")
            if self._held >= self._most:
                raise Refused(
                    429, f"{self._held} requests are being worked on already: try again later."
                )
            self._held += 1
        future: Future[T] = Future()
        self._line.put((future, work))
        return future

    def close(self, seconds: float) -> bool:
        """Take nothing more, drop what waits, and give what runs ``seconds`` to end; did it?"""
        with self._lock:
            self._closed = True
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
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (entry := self._line.get()) is not None:
            future, work = entry
            try:
                if future.set_running_or_notify_cancel():
                    self._run(future, work)
            finally:
                self._leave()
                del entry, future, work  # a thread that waits must not hold the last images

    @staticmethod
    def _run(future: "Future[Any]", work: Callable[[], Any]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # the one who waits for it decides
            future.set_exception(error)
        else:
            future.set_result(result)

    def _leave(self) -> None:
        with self._lock:
            self._held -= 1
