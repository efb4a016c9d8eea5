"""Who may talk to the server: no other site's pages, and where there is a token, who has it."""

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from percert.app.refusal import API, refusal
from percert.app.templates import render

#: Holds proof of the token in a browser, never the token itself.
COOKIE = "percert"
#: Shorter tokens are refused: they can be guessed.
SHORTEST_TOKEN = 12
#: Seconds that the answer to a wrong one takes.
WRONG_TOKEN = 1.0
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/login", "/static/")


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
            if scope["path"].startswith(API):
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
