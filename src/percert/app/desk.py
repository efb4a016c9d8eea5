"""What every address of the server works with."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from percert.app.job import Job
from percert.app.jobs import Jobs
from percert.app.limits import Limits
from percert.app.loaded import Loaded
from percert.app.refusal import Refused
from percert.app.uploads import Upload
from percert.app.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Desk:
    """Limits, what is loaded, who computes, and where files may be written."""

    limits: Limits
    loaded: Loaded
    questions: Workers
    jobs: Jobs
    folder: Path

    async def ask(self, work: Callable[[], T]) -> T:
        """The result of ``work``, computed when its turn comes.

        What it finds wrong with the question (``ValueError``) is refused with 422, an answer that
        takes too long with 408, one question too many with 429.
        """
        future: Future[T] = self.questions.submit(work)
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(future), timeout=self.limits.answer_seconds
            )
        except (asyncio.TimeoutError, TimeoutError):
            seconds = self.limits.answer_seconds
            raise Refused(408, f"There was no answer within {seconds:g} seconds.") from None
        except ValueError as error:
            raise Refused(422, str(error)) from None
        except MemoryError:
            raise Refused(413, "That needs more memory than there is.") from None

    async def start(self, kind: str, uploads: tuple[Upload, ...], work: Callable[..., Any]) -> Job:
        """A started job that computes ``work(job, *images)`` of the uploaded images.

        That they are images is found out at once.
        """
        job = self.jobs.create(kind)
        try:
            await self.ask(partial(self._look, uploads))
            kept = await self.ask(
                lambda: [one.keep(job.folder / f"upload-{i}") for i, one in enumerate(uploads)]
            )
        except BaseException:
            self.jobs.forget(job)
            raise
        pixels = self.limits.pixels
        self.jobs.start(job, lambda job: work(job, *(one.image(pixels) for one in kept)))
        return job

    def _look(self, uploads: tuple[Upload, ...]) -> None:
        for one in uploads:
            one.image(self.limits.pixels)


def _desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk_of)]
