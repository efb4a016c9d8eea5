"""A server inside the test, with tiny classifiers, and images to send to it."""

import io
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the app is in the extra app")

import uvicorn
from starlette.testclient import TestClient
from tests.waiting import PATIENCE, wait_until

from percert.app.resources import ClassifierSource, Limits, Resources
from percert.app.server import create_app


@pytest.fixture(scope="session")
def resources() -> Resources:
    kinds = ("Brightness", "Stubborn", "Deaf")
    models = {kind.lower(): ClassifierSource(f"tests.app.models:{kind}") for kind in kinds}
    return Resources(classifiers=models)


@pytest.fixture
def serve(resources, tmp_path) -> Iterator:
    """``serve(...)`` gives a client of a new server with those settings."""
    yield from _serving(resources, tmp_path)


@pytest.fixture(scope="module")
def serving(resources, tmp_path_factory) -> Iterator:
    """The same, for a server that all tests of a file share."""
    yield from _serving(resources, tmp_path_factory.mktemp("serving"))


def _serving(resources, place):
    opened = []

    def start(given=resources, limits=None, base_url="http://localhost", **more):
        folder = place / f"work-{len(opened)}"
        folder.mkdir()
        app = create_app(given, folder, limits=limits or Limits(), **more)
        client = TestClient(app, base_url=base_url)
        client.__enter__()
        client.folder = folder
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def shared(resources, tmp_path_factory) -> Iterator:
    """A client of one server for all tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    with TestClient(create_app(resources, folder), base_url="http://localhost") as client:
        client.folder = folder
        yield client


@pytest.fixture
def client(shared):
    shared.cookies.clear()
    return shared


@pytest.fixture(scope="session")
def address(resources, tmp_path_factory) -> Iterator[str]:
    """Where a server that runs in a thread listens, for tests that need a real connection."""
    app = create_app(resources, tmp_path_factory.mktemp("work"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE)


def png(height=24, width=32, seed=0, level=None, kind="PNG", **options) -> bytes:
    """A smooth random image as a file; of one grey ``level`` where that is given."""
    if level is None:
        small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    else:
        picture = Image.new("RGB", (width, height), (level,) * 3)
    held = io.BytesIO()
    picture.save(held, kind, **options)
    return held.getvalue()


def wait_for(client, job_id):
    """The job when it is over."""

    def job():
        return client.get(f"/api/v1/jobs/{job_id}").json()

    wait_until(lambda: job()["state"] not in ("waiting", "running"))
    return job()
