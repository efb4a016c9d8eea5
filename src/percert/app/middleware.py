"""ASGI middleware that every request passes: the token, security headers, limits of the body, HEAD.

Requests are refused that another site's pages make, that do not know the token where there is one,
and whose body is too large, arrives too slowly, or is one too many.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percert.app.errors import API, METRICS, STOPPING, UnexpectedErrors, refusal
from percert.app.resources import Limits
from percert.app.templates import render

#: Holds proof of the token in a browser, never the token itself.
COOKIE = "percert"
#: Shorter tokens are refused: they can be guessed.
SHORTEST_TOKEN = 12
#: Seconds that the answer to a wrong one takes.
WRONG_TOKEN = 1.0
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/login", "/static/")


def protect(
    app: FastAPI, limits: Limits, token: str | None, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Put all of these around ``app``; ``stopping`` says that it takes no more requests."""
    # The last one added sees a request first.
    app.add_middleware(HeadRequests)
    app.add_middleware(BodyLimit, limits=limits, stopping=stopping)
    app.add_middleware(Guard, token=token)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(SecureHeaders)


class Guard:
    """Lets requests through to ``app`` that come from no other site and know the token.

    Without a ``token``, only requests to loopback names are answered: a page of another site that
    lets its name point here (DNS rebinding) is refused by its own Host header.
    """

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app = app
        self.token = token
        self.session = session_of(token) if token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused is not None:
            if refused[0] == 401 and "authorization" in headers:
                await asyncio.sleep(WRONG_TOKEN)
            await _answer(scope, headers, *refused)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refuse(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.token is None and not is_loopback(_name_of(host)):
            return 403, "Without a token, this server answers to localhost and 127.0.0.1 alone."
        if scope["method"] not in _SAFE and is_cross_site(headers, host):
            return 403, "Requests that another site's page makes are refused."
        if (
            self.token is not None
            and not scope["path"].startswith(_OPEN)
            and not self._known(headers)
        ):
            if scope["path"].startswith((API, METRICS)):
                return (
                    401,
                    "The token is missing or wrong: send it as 'Authorization: Bearer TOKEN'.",
                )
            return 401, "Sign in with the token first, at /login."
        return None

    def _known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(given.strip(), self.token or ""):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, self.session)


def _answer(scope: Scope, headers: Headers, status: int, reason: str) -> Response:
    """The refusal; the form that asks for the token where somebody wants to see a page."""
    wants_page = scope["method"] in _SAFE and "text/html" in headers.get("accept", "")
    if status != 401 or not wants_page or scope["path"].startswith(API) or "hx-request" in headers:
        return refusal(scope, status, reason)
    values = {"wrong": False, "wanted": scope["path"]}
    return render("login.html", values, 401, {"WWW-Authenticate": "Bearer"})


def session_of(token: str) -> str:
    """What the cookie holds: derived from the token and a secret of this process."""
    return hmac.new(_SECRET, token.encode(), hashlib.sha256).hexdigest()


_SECRET = secrets.token_bytes(32)


async def check_token(given: str, token: str) -> bool:
    """Whether ``given`` is the token; a wrong one takes a second, so that guessing is slow."""
    if same(given, token):
        return True
    await asyncio.sleep(WRONG_TOKEN)
    return False


def same(given: str, known: str) -> bool:
    """Whether two secrets are equal, in a time that does not say where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), known.encode())


def is_cross_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser says that a page of another origin makes this request.

    ``Sec-Fetch-Site`` decides where it is sent: no page can set it, whereas ``Origin`` is "null"
    where a referrer policy hides it. Browsers leave it out on plain HTTP to other machines, and
    ``Origin`` decides. Programs that are no browsers send neither, and have no cookies to steal.

    >>> is_cross_site({"origin": "http://evil.example"}, "127.0.0.1:8000")
    True
    >>> is_cross_site({"sec-fetch-site": "same-origin", "origin": "null"}, "127.0.0.1:8000")
    False
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this machine only.

    >>> [is_loopback(name) for name in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Others are told nothing; "no-referrer" would make the Origin of our own forms "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class SecureHeaders:
    """Adds :data:`HEADERS` to every answer of ``app`` that does not have its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


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
    """The message of a refusal with status 413.

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


class HeadRequests:
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

        asked = {**scope, "method": "GET"}
        await self.app(asked, heard, headers_alone)
        scope["route"] = asked.get("route")
