"""All jobs of the server: started, looked up, cancelled, and forgotten after a while."""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from percert.app.bench import Cancelled, Setting
from percert.app.child import Child, TookTooLong
from percert.app.job import Job
from percert.app.refusal import DEFECT, STOPPING, Refused
from percert.app.run import compute
from percert.app.uploads import Upload
from percert.app.workers import Workers

#: Seconds beyond its time after which a job that does not look at the clock is ended.
GRACE = 10.0

_log = logging.getLogger("percert.app")


class Jobs:
    """The jobs of one server, each in a folder of its own."""

    def __init__(self, setting: Setting) -> None:
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

        :class:`Refused` (429) where too many wait.
        """
        try:
            if self.stopping:
                raise Refused(429, STOPPING)
            with self._lock:
                self._jobs[job.id] = job
            self._workers.submit(partial(_run, job, work, uploads, self._workers.closing))
        except Refused:
            self.forget(job)
            raise

    def find(self, job_id: str) -> Job:
        """The job, :class:`Refused` (404) where there is none of that name."""
        self.tidy()
        job = self._jobs.get(job_id)
        if job is None:
            raise Refused(404, "There is no such job; results are kept for a while only.")
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

    def tidy(self) -> None:
        """Forget old results."""
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
    child: Child,
) -> None:
    try:
        job.begin()
        result = child.call(
            compute,
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
    except Refused as error:
        job.end("failed", reason=error.reason)
    except Exception as error:  # noqa: BLE001  # a defect: to be seen in the log, and to end no thread
        _log.error("a job failed: %s", error)
        job.end("failed", reason=DEFECT)
    else:
        job.end("done", result=result)
    finally:
        for upload in job.folder.glob("upload-*"):
            upload.unlink(missing_ok=True)
