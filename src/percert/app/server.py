"""The server: page and interface put together, started and stopped.

No answer waits for more to send, no request is waited for without end, and nothing is written
outside of one folder, which is removed when the server stops.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from uvicorn.protocols.http.h11_impl import H11Protocol

import percert
from percert.app import (
    api,
    api_jobs,
    errors,
    page_answers,
    page_edits,
    page_jobs,
    page_study,
    pages,
    prometheus,
)
from percert.app.context import ServerContext
from percert.app.errors import RefusedRequest
from percert.app.jobs import Streams
from percert.app.middleware import SHORTEST_TOKEN, is_loopback, protect
from percert.app.resources import DEFAULT, Limits, Resources
from percert.app.study import Study, StudyFiles, open_study
from percert.app.worker import Worker, WorkerSettings
from percert.app.workers import Defect, WorkerProcess
from percert.check import Argument, ArgumentError


def timed_protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, closing a connection whose request's head takes more than ``seconds``.

    It counts from the opening of the connection, and from the first byte of each further request;
    uvicorn itself would wait for ever. What uvicorn calls is extended, not replaced.
    """

    class Impatient(H11Protocol):
        _alarm: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            # asyncio sets it on sockets of its own making only. Without it, an answer's last packet
            # waits for the acknowledgement of the one before: 40 ms on a connection that is kept.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._arm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._arm()
            else:
                self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _arm(self) -> None:
            if self._alarm is None:
                self._alarm = self.loop.call_later(seconds, self._too_slow)

        def _disarm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        def _too_slow(self) -> None:
            self._alarm = None
            if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
                self.send_400_response(f"The request did not arrive within {seconds:g} seconds.")

    return Impatient


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A new folder; until it is left, everything temporary of this process goes there as well.

    That takes in the large uploads that the web framework keeps in files, and matplotlib's cache.

    >>> with work_folder() as folder:
    ...     tempfile.gettempdir() == str(folder)
    True
    >>> folder.exists()
    False
    """
    folder = Path(tempfile.mkdtemp(prefix="percert-app-"))
    before, cache = tempfile.tempdir, os.environ.get("MPLCONFIGDIR")
    tempfile.tempdir = str(folder)
    os.environ["MPLCONFIGDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        if cache is None:
            os.environ.pop("MPLCONFIGDIR", None)
        else:
            os.environ["MPLCONFIGDIR"] = cache
        shutil.rmtree(folder, ignore_errors=True)


#: Seconds that requests and worker processes are given to end when the server stops.
STOPPING = 3.0
STATIC = Path(__file__).parent / "static"
ABOUT = (
    "How alike are two images, how far can that answer be trusted, and what does an attack make of "
    "it? Every length is an l2 length in pixels from 0 to 1. What is refused comes back as "
    '{"reason": "..."} with a 4xx status.'
)

_log = logging.getLogger("percert.app")


def create_app(
    resources: Resources,
    folder: Path,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    api_only: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application. ``folder`` is where it may write; ``stopping`` says that it should end.

    With a ``token``, nothing is answered without it. ``api_only`` leaves the page out. Raises
    ``ValueError`` for a token that is too short.
    """
    _check_token(token)
    limits = limits or Limits()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = ServerContext(
            WorkerSettings(limits, resources, folder), guarded=token is not None
        )
        app.state.context = context
        keeper = asyncio.create_task(_keep_tidy(context, stopping))
        first = asyncio.create_task(api.describe(context))  # nobody waits for what it imports
        yield
        keeper.cancel()
        first.cancel()
        if not await asyncio.to_thread(context.close, STOPPING):
            _log.warning("a computation did not come to its end in time")

    app = FastAPI(
        title="percert",
        version=percert.__version__,
        description=ABOUT,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.token = token
    app.state.streams = Streams(limits.streams)
    errors.install(app)
    app.state.registry = prometheus.new_registry()
    for part in (api, api_jobs):
        app.include_router(part.router)
    app.include_router(prometheus.router, include_in_schema=False)
    if not api_only:
        for page in (pages, page_answers, page_edits, page_jobs):
            app.include_router(page.router, include_in_schema=False)
        app.mount("/static", StaticFiles(directory=STATIC), name="static")
    protect(app, limits, token, stopping)
    app.add_middleware(prometheus.Requests, registry=app.state.registry)
    return app


def create_study_app(
    study: Study, *, limits: Limits | None = None, token: str | None = None
) -> FastAPI:
    """The application that puts a study to observers, and answers nothing else."""
    _check_token(token)
    app = FastAPI(title="percert", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.token, app.state.study = token, study
    errors.install(app)
    app.include_router(page_study.router)
    app.add_api_route("/login", pages.login_page, methods=["GET"])
    app.add_api_route("/login", pages.login, methods=["POST"])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    protect(app, limits or Limits(), token)
    return app


def _check_token(token: str | None) -> None:
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ArgumentError(
            Argument("token"),
            f": expected at least {SHORTEST_TOKEN} characters, found {len(token)}",
        )


def check_host(host: str, token: str | None) -> None:
    """Raise ``ValueError`` where others could reach the server, and no token keeps them out.

    >>> check_host("0.0.0.0", None)
    Traceback (most recent call last):
    percert.check.ArgumentError: host 0.0.0.0: others can reach it there, so token is needed
    """
    if token is None and not is_loopback(host):
        raise ArgumentError(
            Argument("host"),
            f" {host}: others can reach it there, so ",
            Argument("token"),
            " is needed",
        )


def serve(
    resources: Resources,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    token: str | None = None,
    api_only: bool = False,
    study: StudyFiles | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer requests until SIGINT or SIGTERM; then cancel the jobs, and leave no file behind.

    With a ``study`` its pages are all that is answered.

    ``port`` 0 takes a free one; ``ready`` is told the address. For the main thread of a process.
    Raises ``ValueError`` for a host that needs a token and for what cannot be resources, and
    ``OSError`` for a port that is taken.
    """
    check_host(host, token)
    limits = limits or Limits()
    with work_folder() as folder, _listening(host, port) as listener, _terminated_gently():
        stopping: list[Callable[[], bool]] = [lambda: False]
        if study is None:
            _try_out(WorkerSettings(limits, resources, folder))
            app = create_app(
                resources,
                folder,
                limits=limits,
                token=token,
                api_only=api_only,
                stopping=lambda: stopping[0](),
            )
        else:
            app = create_study_app(open_study(study, folder), limits=limits, token=token)
        config = uvicorn.Config(
            app,
            http=timed_protocol(limits.receive_seconds),
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(STOPPING),
        )
        server = uvicorn.Server(config)
        stopping[0] = lambda: server.should_exit
        ready(address_of(host, listener))
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            server.run(sockets=[listener])


def _try_out(setting: WorkerSettings) -> None:
    """Load everything once, so that what is wrong with it is said before anybody asks."""
    child = WorkerProcess(setting)
    try:
        child.call(_load_all, seconds=float("inf"))
    except RefusedRequest as error:
        raise ValueError(error.reason) from None
    except Defect as error:
        raise RuntimeError(str(error)) from None
    finally:
        child.end()


def _load_all(worker: Worker) -> None:
    resources = worker.resources
    try:
        for name in resources.checkpoints or (DEFAULT,):
            resources.metric(resources.called(name))
        for name in resources.classifiers:
            resources.classifier(name)
        if resources.store is not None:
            resources.open_store(resources.store)
    except (ImportError, OSError) as error:
        raise ValueError(str(error)) from error


def address_of(host: str, listener: socket.socket) -> str:
    """Where a browser finds the server."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    with listener:
        yield listener


@contextlib.contextmanager
def _terminated_gently() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that the folder is removed.

    uvicorn handles the signal itself, and then raises it once more for who handled it before.
    """

    def leave(number: int, frame: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _keep_tidy(context: ServerContext, stopping: Callable[[], bool]) -> None:
    """Forget old results; end what runs as soon as the server is to stop.

    uvicorn waits for open connections before it says so, and these wait for what runs.
    """
    while True:
        await asyncio.sleep(0.2)
        context.jobs.tidy()
        context.answers.tidy()
        if stopping():
            context.stop()
