"""HEAD: what GET would answer, without the body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Lets ``app`` answer a HEAD request as a GET, of which only the headers are sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        answered = False

        async def heard() -> Message:
            # A stream that nobody reads ends at once: whoever asks is told that the reader is gone.
            return {"type": "http.disconnect"} if answered else await receive()

        async def headers_alone(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                answered = True

        await self.app({**scope, "method": "GET"}, heard, headers_alone)
