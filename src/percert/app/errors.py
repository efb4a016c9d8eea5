"""Refusals and faults as answers: a 4xx or 5xx status and a sentence that says why."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percert.app.templates import render
from percert.check import ArgumentError

API = "/api/"
#: Where those who run the server read its numbers.
METRICS = "/metrics"
STOPPING = "The server is stopping."
#: What is said of a fault of percert's.
DEFECT = "It failed by a fault of percert's; the server's log says more."


class RefusedRequest(Exception):
    """A request that is not answered: the HTTP status, and why in one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


#: What the page calls arguments of the library, and programs that fill in its fields.
FIELDS = {
    "attribute": "an attribute",
    "drop_missing": '"Leave out groups without an attribute" (drop_missing)',
}


def in_fields(error: ValueError) -> str:
    """The message of ``error``, with the library's arguments called as the form's fields are.

    >>> from percert.check import Argument
    >>> in_fields(ArgumentError("expected ", Argument("attribute"), " to name a column"))
    'expected an attribute to name a column'
    """
    if isinstance(error, ArgumentError):
        return error.wording.said(lambda name: FIELDS.get(name, name))
    return str(error)


class Problem(BaseModel):
    """Why there is no answer."""

    reason: str = Field(description="One sentence for people.")


#: What every address of the interface may answer instead, for its description in OpenAPI.
PROBLEMS = {
    400: "The request is damaged.",
    401: "The token is missing or wrong.",
    403: "The request comes from another site.",
    404: "There is no such thing here.",
    408: "The request or its answer took too long.",
    413: "The request is too large.",
    422: "What was sent cannot be used; the reason says why.",
    500: DEFECT,
    503: "The store cannot be read now.",
    429: "Too much is being asked at once: try again later.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The ``responses`` of an address that may answer with these besides the general ones."""
    return {
        status: {"model": Problem, "description": PROBLEMS[status]}
        for status in sorted({400, 401, 403, 408, 413, 422, 429, 500, *statuses})
    }


def refusal(scope: Scope, status: int, reason: str) -> Response:
    """The answer to a refused request: JSON for the interface, HTML for the page."""
    headers = {"Retry-After": "5"} if status == 429 else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if scope["path"].startswith(API):
        return JSONResponse({"reason": reason}, status, headers)
    asked = Headers(scope=scope)
    if "hx-request" in asked:
        return render("refused.html", {"reason": reason, "status": status}, status, headers)
    if "text/html" in asked.get("accept", ""):
        return render("refused_page.html", {"reason": reason, "status": status}, status, headers)
    return PlainTextResponse(reason + "\n", status, headers)


def install(app: FastAPI) -> None:
    """Let ``app`` answer every refusal, its own and the framework's, with a reason."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedRequest)
        return refusal(request.scope, error.status, error.reason)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refusal(request.scope, 422, _one_line(error))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = refusal(request.scope, error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(RefusedRequest, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _one_line(error: RequestValidationError) -> str:
    said = []
    for entry in error.errors()[:5]:
        place = ".".join(str(part) for part in entry["loc"][1:]) or "request"
        said.append(f"{place}: {entry['msg']}")
    return "; ".join(said)


_log = logging.getLogger("percert.app")


class UnexpectedErrors:
    """Answers with status 500 and a reason where ``app`` raises an unexpected exception."""

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
