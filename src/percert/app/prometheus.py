"""What those who run the server watch, as Prometheus' text at ``/metrics``.

Requests are counted by the address as the interface names it (``/api/v1/jobs/{id}``), never as it
was asked, so that clients cannot make up names. It passes the same guard as every other address.
"""

import time
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import percert
from percert.app.context import Context, ServerContext
from percert.app.errors import METRICS, RefusedRequest
from percert.app.search import StoreAbout

router = APIRouter()

#: The address of what no route answers: it is refused before, or there is none.
UNROUTED = "none"
#: Seconds, up to the time that an answer may take.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Requests:
    """Counts the requests that ``app`` answers, and how long they take to their last byte."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._answered = Counter(
            "percert_requests",
            "Requests answered, by address, method and status.",
            ("address", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "percert_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("address",),
            registry=registry,
            buckets=BUCKETS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # whoever asked was gone before there was one

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            address = getattr(scope.get("route"), "path", UNROUTED)
            known = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
            method = scope["method"] if scope["method"] in known else "other"
            self._answered.labels(address, method, str(status)).inc()
            self._seconds.labels(address).observe(time.perf_counter() - began)


def new_registry() -> CollectorRegistry:
    """A registry of one server's numbers: those of its process are in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def state(context: ServerContext, store: StoreAbout | None, readable: bool) -> Iterator[Metric]:
    """What the server holds now: its queue, jobs, worker processes, and the store."""
    yield _gauge("percert_info", "The version of percert.", 1, version=percert.__version__)
    questions = context.questions
    yield _gauge("percert_questions", "Questions under way or in line.", questions.held)
    most = context.limits.questions + context.limits.waiting_questions
    yield _gauge("percert_questions_most", "Questions there may be before one is refused.", most)
    asked = "Questions that worker processes took up; with percert_passes: how many at once."
    yield CounterMetricFamily("percert_questions_taken", asked, questions.answered)
    passes = "Passes of worker processes; one answers all questions of a store that wait alike."
    yield CounterMetricFamily("percert_passes", passes, questions.passes)
    jobs = GaugeMetricFamily("percert_jobs", "Jobs that are held, by state.", labels=["state"])
    held = context.jobs.count()
    for name in ("waiting", "running", "done", "failed", "cancelled"):
        jobs.add_metric([name], held.get(name, 0))
    yield jobs
    restarts = CounterMetricFamily(
        "percert_worker_restarts",
        "Worker processes that took the place of one that had ended, by what they work on.",
        labels=["kind"],
    )
    for kind, count in context.restarts().items():
        restarts.add_metric([kind], count)
    yield restarts
    if context.resources.store is None:
        return
    yield _gauge("percert_store_readable", "Whether the store can be read now.", int(readable))
    if store is not None:
        yield _gauge("percert_store_images", "Images in the store.", store.images)
        rows = store.images * len(store.views)
        yield _gauge("percert_store_rows", "Rows in the store: views of images.", rows)
        says = "The store's version: another after every change of it."
        yield _gauge("percert_store_version", says, store.version)


def _gauge(name: str, says: str, value: float, **labels: str) -> Metric:
    found = GaugeMetricFamily(name, says, labels=list(labels))
    found.add_metric(list(labels.values()), value)
    return found


class _Once:
    """A collector of what was collected already."""

    def __init__(self, found: list[Metric]) -> None:
        self.found = found

    def collect(self) -> list[Metric]:
        return self.found


@router.get(METRICS)
async def metrics(request: Request, context: Context) -> Response:
    """The numbers of this server, as Prometheus reads them."""
    store, readable = None, True
    try:
        store = await context.store_about()
    except RefusedRequest:
        readable = False
    now = CollectorRegistry(auto_describe=False)
    now.register(_Once(list(state(context, store, readable))))
    text = generate_latest(request.app.state.registry) + generate_latest(now)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
