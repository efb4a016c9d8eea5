"""The processes of a run: devices, launch through lightning-fabric, and how they stop together.

An error in one process is not waited out by the others. torchrun and Slurm watch the processes that
they start. Those that are started here, on one machine, are watched here: a process that waits for
another, in the middle of a sum over both, can do nothing but be ended from outside.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, NoReturn

from percert.check import one_line
from percert.device import resolve_device
from percert.extras import install_extra


@dataclass(frozen=True)
class Devices:
    """``device`` is ``auto``, ``cpu`` or ``cuda``; ``devices`` are processes a node, one GPU each.

    ``None`` takes what torchrun says, otherwise 1. With more than one process gradients are
    averaged (DDP). Under torchrun and Slurm the processes are theirs, otherwise they are started
    here, on one node.
    """

    device: str = "auto"
    devices: int | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}")


def start_fabric(devices: Devices) -> Any:
    """A launched ``Fabric``: where there are several processes, each comes out of it.

    Float32 throughout. Raises ``ValueError`` where lightning-fabric is not installed, or the
    devices are not there. :func:`~percert.training.engine.processes.launched` is this for processes
    that are to stop together.
    """
    return launch(new_fabric(devices))


def new_fabric(devices: Devices) -> Any:
    """A ``Fabric`` that is not launched yet. Raises what :func:`start_fabric` does."""
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError:
        raise ValueError(f"training: needs lightning-fabric: {install_extra('train')}") from None
    count, nodes = process_counts(devices, os.environ)
    kind = resolve_device(devices.device).type
    with _refusals():
        return Fabric(
            accelerator="cuda" if kind == "cuda" else "cpu",
            devices=count,
            num_nodes=nodes,
            strategy="ddp" if count * nodes > 1 else "auto",
            precision="32-true",
        )


def launch(fabric: Any) -> Any:
    """Start the other processes of ``fabric``, where there are some, and meet them; returns it."""
    with _refusals():
        fabric.launch()
    return fabric


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, ImportError) as error:
        raise ValueError(f"training: cannot start: {one_line(error, 500)}") from error


def process_counts(devices: Devices, environment: Mapping[str, str]) -> tuple[int, int]:
    """Processes a node, and nodes: as asked for, else as torchrun says, else 1.

    >>> process_counts(Devices(devices=2), {"WORLD_SIZE": "2"})  # a process that was started here
    (2, 1)
    >>> process_counts(Devices(), {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"})  # torchrun
    (8, 2)
    """
    local = int(environment.get("LOCAL_WORLD_SIZE", 0))  # torchrun's alone
    world = int(environment.get("WORLD_SIZE", local)) if local else 1
    return devices.devices or local or 1, devices.nodes or max(1, world // max(1, local))


#: Names, to the processes that are started here, the file that says why one of them failed; it ends
#: in the number of the process that started them.
FAILED = "PERCERT_TRAINING_FAILED"
#: How often processes look after one another, in seconds.
EVERY = 0.1
#: How long it takes at most until the end of one process is known to the first, in seconds.
KNOWN = 1.0
#: What bad input raises. Anything else is a defect, or what the end of another process causes.
EXPECTED = (ValueError, OSError, MemoryError)


@contextmanager
def launched(devices: Devices) -> Iterator[Any]:
    """A launched ``Fabric``, whose processes, where they are started here, stop together.

    An error in the first process is raised in it, and ends the others. One in another process, or
    its death, ends the first with one line on stderr and exit status 1, whatever it is waiting
    for. Raises ``ValueError`` as :func:`~percert.training.engine.processes.start_fabric` does.

    >>> with launched(Devices("cpu", devices=1)) as fabric:
    ...     fabric.world_size
    1
    """
    fabric = new_fabric(devices)
    count, _ = process_counts(devices, os.environ)
    failed = os.environ.get(FAILED)
    if failed is not None:
        with _one_of_many(Path(failed)):
            yield launch(fabric)
    elif count > 1 and getattr(fabric.strategy.launcher, "procs", None) is not None:
        with _first_of_many(fabric.strategy.launcher.procs, count):
            yield launch(fabric)
    else:
        yield launch(fabric)


@contextmanager
def _first_of_many(started: list[Popen[bytes]], count: int) -> Iterator[None]:
    """For the process that starts the others: they end when it fails, and it when one of them does.

    ``started`` is the launcher's list, which fills up with ``count - 1`` processes.
    """
    folder = Path(tempfile.mkdtemp(prefix="percert-training-"))
    watch = _Watch(started, count, folder / f"failed-{os.getpid()}")
    os.environ[FAILED] = str(watch.failed)
    thread = threading.Thread(target=watch.run, name="percert-processes", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if not isinstance(error, EXPECTED):
            time.sleep(KNOWN)  # it may be that another one's end caused it: then this one ends here
        watch.over.set()
        thread.join()
        watch.kill()
        raise
    finally:
        watch.over.set()
        thread.join()
        del os.environ[FAILED]
        shutil.rmtree(folder, ignore_errors=True)


class _Watch:
    """Watches the processes that the first one started, from a thread of it."""

    def __init__(self, started: list[Popen[bytes]], count: int, failed: Path) -> None:
        self.started, self.count, self.failed = started, count, failed
        self.mine: list[Popen[bytes]] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Look after the others until it is over, or one of them has failed."""
        while not self.over.wait(EVERY):
            if not self.mine and len(self.started) == self.count - 1:
                # The launcher's own watch would kill this process too, without a word.
                self.mine, self.started[:] = list(self.started), []
            reason = self._failure()
            if reason is not None:
                self._end(reason)

    def _failure(self) -> str | None:
        if self.failed.exists():
            return self.failed.read_text(encoding="utf-8")
        for number, child in enumerate(self.mine, 1):
            status = child.poll()
            if status:
                how = f"was killed ({_name(-status)})" if status < 0 else f"ended with {status}"
                return f"process {number} {how}"
        return None

    def kill(self) -> None:
        """End the others, at once: one that waits for a sum hears no milder signal."""
        for child in (*self.mine, *self.started):
            child.kill()

    def _end(self, reason: str) -> NoReturn:
        self.kill()
        shutil.rmtree(self.failed.parent, ignore_errors=True)
        sys.stderr.write(f"percert: error: {reason}\n")
        sys.stderr.flush()
        os._exit(1)


@contextmanager
def _one_of_many(failed: Path) -> Iterator[None]:
    """For a process that the first started: its error is handed to the first, and both end."""
    over = threading.Event()
    # Not os.getppid(): the first may be gone before this one comes so far.
    parent = int(failed.name.rpartition("-")[2])

    def follow() -> None:
        while not over.wait(EVERY):
            if os.getppid() != parent:  # killed: nobody is left to wait for
                shutil.rmtree(failed.parent, ignore_errors=True)
                os._exit(1)

    threading.Thread(target=follow, name="percert-processes", daemon=True).start()
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception):
            if not isinstance(error, EXPECTED):
                time.sleep(KNOWN)  # as above
                traceback.print_exc()
            _say(failed, error)
        time.sleep(10 * KNOWN)  # in which the first process ends this one
        raise
    finally:
        over.set()


def _say(failed: Path, error: Exception) -> None:
    """Write why this process fails to ``failed``, as a whole, unless another one has before."""
    where = f"process {os.environ.get('LOCAL_RANK', '?')}"
    kind = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
    mine = failed.with_name(f"{failed.name}-{os.getpid()}")
    mine.write_text(f"{where}: {kind}{one_line(error, 2000)}", encoding="utf-8")
    with suppress(FileExistsError):
        os.link(mine, failed)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
