"""Requests whose body is too large, arrives too slowly, or is one too many."""

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percert.app.limits import Limits
from percert.app.refusal import STOPPING, refusal

#: Bodies up to so many times the limit are read to their end before they are refused: a browser
#: that still sends does not look at the answer.
DRAINED = 4
#: Seconds between two looks at whether the server stops.
LOOK = 0.5
TOO_MUCH = "Too much is being sent to this server at once: try again later."


class BodyLimit:
    """Refuses bodies above ``limits.upload_bytes`` (413), slow ones (408), and too many (429).

    What has arrived counts until its request is answered: it lies in memory or on disk until then.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self.app = app
        self.limits = limits
        self.stopping = stopping
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.upload_bytes
        until = time.monotonic() + self.limits.receive_seconds
        arrived = held = 0

        async def limited() -> Message:
            nonlocal arrived, held
            if arrived < 0:  # the body has arrived: what comes now is the end of the connection
                return await receive()
            message = await self._next(receive, until)
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                arrived, held, self._held = arrived + size, held + size, self._held + size
                if arrived > most:
                    raise HTTPException(413, too_large(most), {"Connection": "close"})
                if self._held > self.limits.held_uploads * most:
                    raise HTTPException(429, TOO_MUCH, {"Connection": "close", "Retry-After": "5"})
                if not message.get("more_body", False):
                    arrived = -1
            return message

        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            if int(announced) <= DRAINED * most:
                await _drain(receive, until)
            answer = refusal(scope, 413, too_large(most))
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        try:
            await self.app(scope, limited, send)
        finally:
            self._held -= held

    async def _next(self, receive: Receive, until: float) -> Message:
        stall = time.monotonic() + self.limits.stall_seconds
        while (left := min(until, stall) - time.monotonic()) > 0:
            try:
                return await asyncio.wait_for(receive(), min(left, LOOK))
            except (asyncio.TimeoutError, TimeoutError):
                if self.stopping():
                    raise HTTPException(429, STOPPING, {"Connection": "close"}) from None
        reason = f"The request did not arrive within {self.limits.receive_seconds:g} seconds."
        if stall < until:
            reason = f"Nothing of the request arrived for {self.limits.stall_seconds:g} seconds."
        raise HTTPException(408, reason, {"Connection": "close"})


def too_large(most: int) -> str:
    """The reason.

    >>> too_large(2**20)
    'The request is larger than 1.0 MiB, which is the limit of this server.'
    """
    return f"The request is larger than {most / 2**20:.1f} MiB, which is the limit of this server."


async def _drain(receive: Receive, until: float) -> None:
    try:
        while time.monotonic() < until:
            message = await asyncio.wait_for(receive(), until - time.monotonic())
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
    except (asyncio.TimeoutError, TimeoutError):
        return
