"""What every address of the server works with: limits, resources, workers, jobs and kept answers.

Answers of the pages are kept with what they were made of: an attack on an answer, or another eps
for it, must not depend on what a form holds by then.
"""

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, Request

from percert.app.errors import DEFECT, STOPPING, RefusedRequest
from percert.app.images import Upload
from percert.app.jobs import Job, Jobs
from percert.app.resources import Limits, Resources
from percert.app.search import FIRST_OF_A_STORE, StoreAbout, describe_store
from percert.app.worker import Cancelled, Worker, WorkerSettings
from percert.app.workers import Defect, TookTooLong, WorkerProcess, Workers

if TYPE_CHECKING:
    from percert.app.compare import PairQuestion
    from percert.app.judge import TripletQuestion

Question = TypeVar("Question", "PairQuestion", "TripletQuestion")


@dataclass(frozen=True, eq=False)
class KeptAnswer:
    """A question whose files lie in ``folder``, ``size`` bytes of them, since the time ``made``."""

    id: str
    question: "PairQuestion | TripletQuestion"
    folder: Path
    size: int
    made: float


class KeptAnswers:
    """The questions behind the pages' last answers, at most ``kept_bytes`` of files."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._kept: dict[str, KeptAnswer] = {}
        self._lock = threading.Lock()

    def keep(self, question: "PairQuestion | TripletQuestion") -> KeptAnswer:
        """Keep the question with copies of its files; the oldest are forgotten for it."""
        folder = self._folder / f"answer-{secrets.token_hex(8)}"
        folder.mkdir()
        copies: dict[str, Any] = {
            role: one.keep(folder / role) for role, one in _uploads(question).items()
        }
        size = sum((folder / role).stat().st_size for role in copies)
        asked = replace(question, **copies)
        kept = KeptAnswer(secrets.token_urlsafe(16), asked, folder, size, time.monotonic())
        with self._lock:
            self._kept[kept.id] = kept
        self.tidy()
        return kept

    def find(self, kept_id: str, kind: type[Question]) -> Question:
        """The question ``kept_id``; :class:`RefusedRequest` (404) where it is forgotten."""
        self.tidy()
        kept = self._kept.get(kept_id)
        if kept is None or not isinstance(kept.question, kind):
            raise RefusedRequest(404, "That answer is no longer kept: send the images once more.")
        return kept.question

    def picture(self, kept_id: str, role: str) -> tuple[Upload, Path]:
        """One image of a kept question, and the path for the PNG that shows it."""
        self.tidy()
        kept = self._kept.get(kept_id)
        uploads = {} if kept is None else _uploads(kept.question)
        if kept is None or role not in uploads:
            raise RefusedRequest(404, "There is no such picture.")
        return uploads[role], kept.folder / f"{role}.png"

    def tidy(self) -> None:
        """Forget what is older than ``kept_seconds``, and the oldest beyond ``kept_bytes``."""
        now = time.monotonic()
        with self._lock:
            held = sorted(self._kept.values(), key=lambda one: one.made, reverse=True)
            total, gone = 0, []
            for kept in held:
                total += kept.size
                old = now - kept.made > self._limits.kept_seconds
                if old or (total > self._limits.kept_bytes and kept is not held[0]):
                    gone.append(self._kept.pop(kept.id))
        for kept in gone:
            shutil.rmtree(kept.folder, ignore_errors=True)


def _uploads(question: Any) -> dict[str, Upload]:
    """The uploads of a question by the names of its fields."""
    values = {field.name: getattr(question, field.name) for field in fields(question)}
    return {name: value for name, value in values.items() if isinstance(value, Upload)}


T = TypeVar("T")
#: Seconds that a page waits for the store to say what it holds.
STORE_SECONDS = 5.0

_log = logging.getLogger("percert.app")


class ServerContext:
    """The server's state: worker processes for questions, for jobs and for the store; kept answers.

    Nothing is computed, decoded or read in the server's own process: what hangs or is killed is a
    worker, and pages that ask nothing are shown all the same.
    """

    def __init__(self, setting: WorkerSettings, *, guarded: bool = False) -> None:
        self._setting = setting
        #: Whether a token is asked for, so that there is something to sign out of.
        self.guarded = guarded
        limits = setting.limits
        self.jobs = Jobs(setting)
        self.answers = KeptAnswers(limits, setting.folder)
        self.questions = Workers(
            limits.questions,
            limits.waiting_questions,
            "question",
            setting,
            limits.together,
            () if setting.resources.store is None else FIRST_OF_A_STORE,
        )
        self._stores = (
            None
            if setting.resources.store is None
            else Workers(1, limits.waiting_questions, "store", setting)
        )

    @property
    def limits(self) -> Limits:
        """The limits of requests."""
        return self._setting.limits

    @property
    def resources(self) -> Resources:
        """What the server was started with."""
        return self._setting.resources

    async def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(worker, *arguments)``, computed in a worker process when its turn comes.

        The function is one that can be pickled: of a module, or a ``partial`` of one. What it finds
        wrong with the question (``ValueError``) is refused with 422, an answer that takes too long
        with 408, one question too many with 429.
        """
        return await _ask(self.questions, self.limits.answer_seconds, function, arguments)

    async def ask_together(
        self, function: Callable[..., list[Any]], given: Any, *settings: Hashable
    ) -> Any:
        """The answer for ``given`` of ``function(worker, [given, ...], *settings)``.

        All that wait with the same function and settings are computed in one pass, at most
        ``limits.together``. The function says an answer for each, or an exception; otherwise as
        :meth:`ask`.
        """
        seconds = self.limits.answer_seconds
        until = time.monotonic() + seconds
        closing = self.questions.closing

        def call(child: WorkerProcess, asked: list[tuple[float, Any]]) -> list[Any]:
            left = _left(min(until for until, _ in asked))
            if len(asked) > 1:  # one that does not end must leave the others their time
                left /= 2
            every = [one for _, one in asked]
            found: list[Any] = child.call(function, every, *settings, seconds=left, closing=closing)
            return found

        like = (function, *settings)
        future = self.questions.submit_like(like, call, (until, given))
        return await _answer(self.questions, seconds, future)

    async def store_about(self) -> StoreAbout | None:
        """What the store holds now; ``None`` where the server has no store.

        :class:`RefusedRequest` (503) where it cannot be read.
        """
        if self._stores is None:
            return None
        seconds = self.limits.answer_seconds
        try:
            asked = _ask(self._stores, seconds, describe_store, ())
            return await asyncio.wait_for(asked, STORE_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            raise RefusedRequest(503, "The store does not answer.") from None
        except RefusedRequest as error:
            raise RefusedRequest(503, "The store cannot be read now.") from error

    async def start(self, kind: str, uploads: tuple[Upload, ...], work: Callable[..., Any]) -> Job:
        """A started job that computes ``work(run, *images)`` of the uploaded images.

        That they are images is found out at once.
        """
        job = self.jobs.create(kind)
        try:
            await self.ask(_look, uploads)
            kept = await asyncio.to_thread(
                lambda: [one.keep(job.folder / f"upload-{i}") for i, one in enumerate(uploads)]
            )
        except BaseException:
            self.jobs.forget(job)
            raise
        self.jobs.start(job, work, kept)
        return job

    def restarts(self) -> dict[str, int]:
        """How many worker processes took the place of one that had ended, by their work."""
        store = 0 if self._stores is None else self._stores.restarts
        return {"question": self.questions.restarts, "job": self.jobs.restarts, "store": store}

    def stop(self) -> None:
        """Take no more questions and jobs, and end those that run."""
        self.jobs.stop()
        self.questions.stop()
        if self._stores is not None:
            self._stores.stop()

    def close(self, seconds: float) -> bool:
        """:meth:`stop`, and give the threads ``seconds`` to come to their end; did they?"""
        self.stop()
        ended = [self.jobs.close(seconds), self.questions.close(seconds)]
        if self._stores is not None:
            ended.append(self._stores.close(seconds))
        return all(ended)


async def _ask(
    workers: Workers, seconds: float, function: Callable[..., T], arguments: tuple[Any, ...]
) -> T:
    until = time.monotonic() + seconds

    def call(child: WorkerProcess) -> T:
        found: T = child.call(function, *arguments, seconds=_left(until), closing=workers.closing)
        return found

    return await _answer(workers, seconds, workers.submit(call))


def _left(until: float) -> float:
    """The seconds left for an answer that is waited for ``until`` then."""
    left = until - time.monotonic()
    if left <= 0:  # it was in line for so long, and nobody waits for the answer
        raise TookTooLong
    return left


async def _answer(workers: Workers, seconds: float, future: "Future[T]") -> T:
    """What the ``future`` brings within ``seconds``; what goes wrong with it is refused."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds + 1)
    except (asyncio.TimeoutError, TimeoutError, TookTooLong):
        raise RefusedRequest(408, f"There was no answer within {seconds:g} seconds.") from None
    except Cancelled:
        raise RefusedRequest(429, STOPPING) from None
    except asyncio.CancelledError:
        if not workers.closing.is_set():
            raise  # whoever asked is gone
        raise RefusedRequest(429, STOPPING) from None
    except Defect as error:
        _log.error("a question failed: %s", error)
        raise RefusedRequest(500, DEFECT) from None


def _look(worker: Worker, uploads: tuple[Upload, ...]) -> None:
    for one in uploads:
        one.image(worker.limits.pixels)


def _context_of(request: Request) -> ServerContext:
    context: ServerContext = request.app.state.context
    return context


Context = Annotated[ServerContext, Depends(_context_of)]
