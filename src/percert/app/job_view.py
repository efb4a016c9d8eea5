"""A job as clients see it, and its progress as a stream of events (server-sent events)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from percert.app.classifier_attack import ClassifierAttackAnswer
from percert.app.job import Job
from percert.app.pair_attack import PairAttackAnswer
from percert.app.triplet_attack import TripletAttackAnswer
from percert.reports.finite import finite

#: Seconds between two looks at a job, and at most between two words to a client.
LOOK, HEARTBEAT = 0.2, 10.0

Result = PairAttackAnswer | TripletAttackAnswer | ClassifierAttackAnswer


@dataclass(frozen=True)
class Picture:
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
    pictures: list[Picture]


def view(job: Job) -> dict[str, Any]:
    """The fields of a :class:`JobView`."""
    over = job.state == "done"
    pictures = [
        {"name": name, "address": f"/api/v1/jobs/{job.id}/pictures/{name}", "says": says}
        for name, says in job.pictures.items()
    ]
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "doing": job.doing,
        "done": job.done,
        "total": job.total,
        "seconds": job.took,
        "most_seconds": job.seconds,
        "reason": job.reason,
        "result": finite(asdict(job.result)) if over else None,
        "pictures": pictures if over else [],
    }


async def events(job: Job, shown: Callable[[Job], str]) -> AsyncIterator[str]:
    """``progress`` events, each with what ``shown`` makes of the job, and ``end`` at last."""
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
    """The progress alone, in one line."""
    kept = ("state", "doing", "done", "total", "reason")
    return json.dumps({name: getattr(job, name) for name in kept})


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
