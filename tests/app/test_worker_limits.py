"""What never comes to an end stops neither the pages, nor what is asked next, nor the server."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.app.conftest import png
from tests.waiting import PATIENCE, wait_until

from percert.app.errors import RefusedRequest
from percert.app.forkserver import fork_server
from percert.app.resources import Limits

HTMX = {"HX-Request": "true"}


def number(worker):
    return os.getpid()


def forever(worker):
    """As a decoder that a file keeps busy: it does not look at any clock."""
    while True:
        pass


def test_questions_that_do_not_end_hold_up_no_page_and_are_ended(serve):
    client = serve(limits=Limits(questions=2, answer_seconds=12.0))
    context = client.app.state.context
    files = {"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=2))}
    ask = {"files": files, "data": {"metric": "thumbnail"}}
    while client.post("/api/v1/compare", **ask).status_code == 408:  # until workers are there
        pass
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(client.portal.call, context.ask, forever) for _ in range(2)]
        wait_until(lambda: context.questions.held == 2)
        waiting = pool.submit(client.post, "/api/v1/compare", **ask)
        for path in ("/", "/judge", "/attack", "/search", "/audit", "/api/v1/health"):
            assert client.get(path).status_code == 200
        assert not any(one.done() for one in held)
        for one in held:
            with pytest.raises(RefusedRequest, match="no answer within 12 seconds") as refused:
                one.result(PATIENCE)
            assert refused.value.status == 408
        assert waiting.result(PATIENCE).status_code in (200, 408)
    wait_until(lambda: client.post("/api/v1/compare", **ask).status_code == 200)


def ended(process):
    """Whether it is gone, or only waits for somebody to ask how it ended."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[
            0
        ] == "Z"
    except OSError:
        return True


def test_without_the_process_that_forks_them_workers_are_ended_and_replaced(serve):
    client = serve(limits=Limits(questions=1, answer_seconds=PATIENCE))
    context = client.app.state.context
    first = client.portal.call(context.ask, number)
    fork_server()._process.kill()
    fork_server()._process.wait()
    assert client.portal.call(context.ask, number) == first  # it goes on with what it has
    object.__setattr__(context.limits, "answer_seconds", 1.0)
    with pytest.raises(RefusedRequest, match="no answer within 1 seconds"):
        client.portal.call(context.ask, forever)
    object.__setattr__(context.limits, "answer_seconds", PATIENCE)
    second = client.portal.call(context.ask, number)
    assert second != first
    assert ended(first)


def test_who_waits_is_told_when_the_server_stops(serve):
    client = serve(limits=Limits(questions=1))
    context = client.app.state.context

    async def stop_while_asking():
        asked = [asyncio.create_task(context.ask(forever)) for _ in range(2)]
        await asyncio.sleep(0.5)
        context.stop()
        return await asyncio.gather(*asked, return_exceptions=True)

    for end in client.portal.call(stop_while_asking):
        assert isinstance(end, RefusedRequest)
        assert end.reason == "The server is stopping."
