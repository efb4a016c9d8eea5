"""Where worker processes come from: one that has imported what computes, and forks at once.

An import takes seconds, a fork milliseconds. It is a process of its own, without threads and with
nothing computed yet, because a process that has computed (or uses a GPU) cannot be forked.
"""

import contextlib
import functools
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

#: What is asked, "fork" with a socket or "end", and of which process; and the answer.
_MESSAGE = struct.Struct("!4sq")
_START = "import sys; sys.path[:] = {path!r}; from percert.app.forkserver import run; run({number})"


@functools.cache
def fork_server() -> "ForkServer":
    """The fork server of this process."""
    return ForkServer()


class ForkServer:
    """Forks worker processes and ends them; started anew where it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, which begins to import; return at once."""
        with self._lock:
            self._opened()

    def fork(self, channel: socket.socket) -> int:
        """A new process that works for the other end of ``channel``; its number."""
        with self._lock:
            try:
                return self._ask(b"fork", 0, channel)
            except (OSError, EOFError):  # it was ended, and its workers with it
                self._close()
                return self._ask(b"fork", 0, channel)

    def end(self, process: int) -> None:
        """End a worker for good, whatever it does."""
        with self._lock:
            try:
                self._ask(b"end ", process)
            except (OSError, EOFError):
                self._close()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """End the fork server, once all its workers are ended."""
        with self._lock:
            self._close()

    def _ask(self, what: bytes, process: int, channel: socket.socket | None = None) -> int:
        link = self._opened()
        given = [] if channel is None else [channel.fileno()]
        socket.send_fds(link, [_MESSAGE.pack(what, process)], given)
        answer = link.recv(_MESSAGE.size, socket.MSG_WAITALL)
        if len(answer) < _MESSAGE.size:
            raise EOFError("the fork server is gone")
        return int(_MESSAGE.unpack(answer)[1])

    def _opened(self) -> socket.socket:
        if self._link is None:
            if not hasattr(os, "fork"):
                raise ValueError("the app runs where processes can fork: on Linux and macOS")
            mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with its:
                started = _START.format(path=sys.path, number=its.fileno())
                # In a session of its own, out of reach of the terminal's Ctrl-C. It ends when this
                # process does, of whatever cause, because its link then ends.
                self._process = subprocess.Popen(
                    [sys.executable, "-c", started],
                    pass_fds=[its.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._link = mine
        return self._link

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def run(number: int) -> None:
    """Fork workers for the process at the other end of file ``number``, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from percert.app.worker import work

    gc.freeze()  # what is there stays where it is, in memory that all workers share
    workers: set[int] = set()
    with socket.socket(fileno=number) as link:
        while True:
            message, given, _, _ = socket.recv_fds(link, _MESSAGE.size, 1)
            if len(message) < _MESSAGE.size:
                break
            what, process = _MESSAGE.unpack(message)
            if what == b"fork":
                process = _fork(link, given[0], work)
                workers.add(process)
            else:  # also one that a fork server before this one forked
                workers.discard(process)
                _end(process)
            link.sendall(_MESSAGE.pack(what, process))
    for process in workers:
        _end(process)


def _fork(link: socket.socket, channel: int, work: Callable[[int], None]) -> int:
    process = os.fork()
    if process:
        os.close(channel)
        return process
    status = 1
    try:
        link.close()
        work(channel)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)
