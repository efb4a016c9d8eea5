"""Faults of percert's own: logged, and answered in the form of every other refusal."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percert.app.refusal import DEFECT, refusal

_log = logging.getLogger("percert.app")


class Unfailing:
    """Answers with 500 and a reason where ``app`` raises what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await refusal(scope, 500, DEFECT)(scope, receive, send)
