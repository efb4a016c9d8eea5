"""What every address of the server works with."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from percert.app.bench import Bench, Cancelled, Setting
from percert.app.child import Child, Defect, TookTooLong
from percert.app.job import Job
from percert.app.jobs import Jobs
from percert.app.kept_answers import KeptAnswers
from percert.app.limits import Limits
from percert.app.loaded import Loaded
from percert.app.refusal import DEFECT, STOPPING, Refused
from percert.app.store_about import StoreAbout, look_at_store
from percert.app.uploads import Upload
from percert.app.workers import Workers

T = TypeVar("T")
#: Seconds that a page waits for the store to say what it holds.
STORE_SECONDS = 5.0

_log = logging.getLogger("percert.app")


class Desk:
    """Who computes: questions, jobs, and looks at the store, each with worker processes of its own.

    Nothing is computed, decoded or read in the server's own process: what hangs or is killed is a
    worker, and pages that ask nothing are shown all the same.
    """

    def __init__(self, setting: Setting, *, guarded: bool = False) -> None:
        self._setting = setting
        #: Whether a token is asked for, so that there is something to sign out of.
        self.guarded = guarded
        limits = setting.limits
        self.jobs = Jobs(setting)
        self.answers = KeptAnswers(limits, setting.folder)
        self.questions = Workers(limits.questions, limits.waiting_questions, "question", setting)
        self._stores = (
            None
            if setting.loaded.store is None
            else Workers(1, limits.waiting_questions, "store", setting)
        )

    @property
    def limits(self) -> Limits:
        """What may be asked for."""
        return self._setting.limits

    @property
    def loaded(self) -> Loaded:
        """What the server was started with."""
        return self._setting.loaded

    async def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(bench, *arguments)``, computed in a worker process when its turn comes.

        The function is one that can be pickled: of a module, or a ``partial`` of one. What it finds
        wrong with the question (``ValueError``) is refused with 422, an answer that takes too long
        with 408, one question too many with 429.
        """
        return await _ask(self.questions, self.limits.answer_seconds, function, arguments)

    async def store_about(self) -> StoreAbout | None:
        """What the store holds now; ``None`` where the server has none.

        :class:`Refused` (503) where it cannot be read.
        """
        if self._stores is None:
            return None
        seconds = self.limits.answer_seconds
        try:
            asked = _ask(self._stores, seconds, look_at_store, ())
            return await asyncio.wait_for(asked, STORE_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            raise Refused(503, "The store does not answer.") from None
        except Refused as error:
            raise Refused(503, "The store cannot be read now.") from error

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

    def stop(self) -> None:
        """Take nothing more, and end what runs."""
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

    def call(child: Child) -> T:
        left = until - time.monotonic()
        if left <= 0:  # it was in line for so long, and nobody waits for the answer
            raise TookTooLong
        found: T = child.call(function, *arguments, seconds=left, closing=workers.closing)
        return found

    future: Future[T] = workers.submit(call)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds + 1)
    except (asyncio.TimeoutError, TimeoutError, TookTooLong):
        raise Refused(408, f"There was no answer within {seconds:g} seconds.") from None
    except Cancelled:
        raise Refused(429, STOPPING) from None
    except asyncio.CancelledError:
        if not workers.closing.is_set():
            raise  # whoever asked is gone
        raise Refused(429, STOPPING) from None
    except Defect as error:
        _log.error("a question failed: %s", error)
        raise Refused(500, DEFECT) from None


def _look(bench: Bench, uploads: tuple[Upload, ...]) -> None:
    for one in uploads:
        one.image(bench.limits.pixels)


def _desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk_of)]
