"""Jobs: long computations that are started, watched by a stream of events, cancelled, forgotten."""

import asyncio
import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from percert.app.attack import ClassifierAttackAnswer
from percert.app.compare_attack import PairAttackAnswer
from percert.app.errors import DEFECT, STOPPING, RefusedRequest
from percert.app.images import Upload
from percert.app.judge import TripletAttackAnswer
from percert.app.worker import PICTURE, PROGRESS, Cancelled, WorkerSettings, compute_job
from percert.app.workers import TookTooLong, WorkerProcess, Workers
from percert.reports.table import finite

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(eq=False)
class Job:
    """One long computation: state, progress, result. Its thread writes it, others read it.

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
        """Whether it has ended: done, failed or cancelled."""
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
        """Set the final state; only the first call counts."""
        with self._lock:
            if not self.over:
                self.result, self.reason = result, reason
                self.ended = time.monotonic()
                self.state = state

    def cancel(self, reason: str = "Cancelled.") -> None:
        """Set the state to cancelled; the computation sees that and stops."""
        self.end("cancelled", reason=reason)

    def hear(self, kind: str, said: tuple[Any, ...]) -> None:
        """Record a message of the computation: progress, or a picture that it has written."""
        if kind == PROGRESS:
            self.doing, self.done, self.total = said
        elif kind == PICTURE:
            name, says = said
            self.pictures[name] = says


#: Seconds beyond its time that a job has for a last long step, and to measure what it found; one
#: that does not look at the clock is ended then.
GRACE = 60.0

_log = logging.getLogger("percert.app")


class Jobs:
    """The jobs of one server, each in a folder of its own."""

    def __init__(self, setting: WorkerSettings) -> None:
        self._limits = setting.limits
        self._folder = setting.folder
        self._workers = Workers(self._limits.jobs, self._limits.waiting_jobs, "job", setting)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.stopping = False

    def create(self, kind: str) -> Job:
        """A new job with its folder; nothing happens until it is :meth:`start` ed."""
        self.tidy()
        job_id = secrets.token_urlsafe(16)
        folder = self._folder / f"job-{secrets.token_hex(8)}"
        folder.mkdir()
        return Job(job_id, kind, folder, self._limits.job_seconds)

    def start(self, job: Job, work: Callable[..., Any], uploads: Sequence[Upload] = ()) -> None:
        """Let ``work(run, *images)`` compute the job's result, in a worker process.

        :class:`RefusedRequest` (429) where too many wait.
        """
        try:
            if self.stopping:
                raise RefusedRequest(429, STOPPING)
            with self._lock:
                self._jobs[job.id] = job
            self._workers.submit(partial(_run, job, work, uploads, self._workers.closing))
        except RefusedRequest:
            self.forget(job)
            raise

    def find(self, job_id: str) -> Job:
        """The job, :class:`RefusedRequest` (404) where there is none of that name."""
        self.tidy()
        job = self._jobs.get(job_id)
        if job is None:
            raise RefusedRequest(404, "There is no such job; results are kept for a while only.")
        return job

    def forget(self, job: Job) -> None:
        """Remove the job and its files."""
        with self._lock:
            self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def count(self) -> dict[str, int]:
        """How many jobs there are by state."""
        states = [job.state for job in list(self._jobs.values())]
        return {state: states.count(state) for state in sorted(set(states))}

    @property
    def restarts(self) -> int:
        """How many worker processes took the place of one that had ended."""
        return self._workers.restarts

    def tidy(self) -> None:
        """Forget results beyond ``kept_jobs`` and older than ``kept_seconds``."""
        with self._lock:
            jobs = list(self._jobs.values())
        over = sorted((job for job in jobs if job.over), key=lambda job: job.ended)
        now = time.monotonic()
        surplus = max(0, len(over) - self._limits.kept_jobs)
        for place, job in enumerate(over):
            if place < surplus or now - job.ended > self._limits.kept_seconds:
                self.forget(job)

    def stop(self) -> None:
        """Take no more jobs, and cancel all: their streams end, their processes are ended."""
        self.stopping = True
        for job in list(self._jobs.values()):
            job.cancel("The server was stopped.")
        self._workers.stop()

    def close(self, seconds: float) -> bool:
        """:meth:`stop`, and give the threads ``seconds`` to come to their end; whether they did."""
        self.stop()
        return self._workers.close(seconds)


def _run(
    job: Job,
    work: Callable[..., Any],
    uploads: Sequence[Upload],
    closing: threading.Event,
    child: WorkerProcess,
) -> None:
    try:
        job.begin()
        result = child.call(
            compute_job,
            job.folder,
            job.seconds,
            work,
            uploads,
            seconds=job.seconds + GRACE,
            told=job.hear,
            unwanted=lambda: job.over,
            closing=closing,
        )
    except Cancelled:
        job.cancel()
    except TookTooLong:
        job.end("failed", reason=f"It took more than {job.seconds:g} seconds.")
    except RefusedRequest as error:
        job.end("failed", reason=error.reason)
    except Exception as error:  # noqa: BLE001  # a defect: to be seen in the log, and to end no thread
        _log.error("a job failed: %s", error)
        job.end("failed", reason=DEFECT)
    else:
        job.end("done", result=result)
    finally:
        for upload in job.folder.glob("upload-*"):
            upload.unlink(missing_ok=True)


#: Seconds between two looks at a job, and at most between two words to a client.
LOOK, HEARTBEAT = 0.2, 10.0

Result = PairAttackAnswer | TripletAttackAnswer | ClassifierAttackAnswer


@dataclass(frozen=True)
class JobPicture:
    """A picture of a job: where it is, and what it shows."""

    name: str
    address: str
    says: str


@dataclass(frozen=True)
class JobView:
    """How far a job is. ``done`` of ``total`` iterations; ``result`` when ``state`` is done.

    It has run for ``seconds``, and may for ``most_seconds``.
    """

    id: str
    kind: Literal["compare", "judge", "attack"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    doing: str
    done: int
    total: int
    seconds: float
    most_seconds: float
    reason: str | None
    result: Result | None
    pictures: list[JobPicture]


def view(job: Job) -> dict[str, Any]:
    """The fields of a :class:`JobView`."""
    state = job.state  # read once: its thread may end it meanwhile
    done = state == "done"
    pictures = [
        {"name": name, "address": f"/api/v1/jobs/{job.id}/pictures/{name}", "says": says}
        for name, says in job.pictures.items()
    ]
    return {
        "id": job.id,
        "kind": job.kind,
        "state": state,
        "doing": job.doing,
        "done": job.done,
        "total": job.total,
        "seconds": job.took,
        "most_seconds": job.seconds,
        "reason": job.reason,
        "result": finite(asdict(job.result)) if done else None,
        "pictures": pictures if done else [],
    }


async def events(job: Job, shown: Callable[[Job], str]) -> AsyncIterator[str]:
    """Server-sent events: ``progress`` with ``shown(job)`` where that changes, ``end`` at last."""
    last, spoken = "", time.monotonic()
    while True:
        over = job.over
        text = shown(job)
        now = time.monotonic()
        if text != last:
            yield _event("progress", text)
            last, spoken = text, now
        elif now - spoken > HEARTBEAT:
            yield ": still there\n\n"
            spoken = now
        if over:
            yield _event("end", job.state)
            return
        await asyncio.sleep(LOOK)


def progress_json(job: Job) -> str:
    """State and progress of a job as one line of JSON."""
    kept = ("state", "doing", "done", "total", "reason")
    return json.dumps({name: getattr(job, name) for name in kept})


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


class Streams:
    """Limits open event streams to ``most``; each holds a connection while its job goes on."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    def check(self) -> None:
        """:class:`RefusedRequest` (429) where there are as many as there may be."""
        if self.open >= self.most:
            raise RefusedRequest(429, f"{self.open} streams are open already: ask again later.")

    async def counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        """The ``events`` of a stream, which counts as open until the last of them."""
        self.open += 1
        try:
            async for event in events:
                yield event
        finally:
            self.open -= 1
