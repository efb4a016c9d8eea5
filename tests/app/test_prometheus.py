"""What a server says of itself at /metrics, as Prometheus reads it."""

import subprocess
import sys
import time

import pytest
from tests.app.conftest import png

from percert.app.resources import Limits, Resources

parser = pytest.importorskip("prometheus_client.parser", reason="it is in the extra app")

TOKEN = "a token of some length"


def values(client, **how):
    answer = client.get("/metrics", **how)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_the_address_as_it_is_called_and_by_status(serve):
    client = serve(limits=Limits(questions=2, waiting_questions=5))
    client.get("/api/v1/health")
    client.get("/api/v1/health")
    client.head("/api/v1/health")
    client.get("/api/v1/jobs/one")
    client.get("/api/v1/jobs/two")
    client.get("/nothing/of/that/name")
    client.get("/api/v1/health", headers={"Host": "elsewhere.example"})
    client.request("MAKEUP", "/api/v1/health")
    found = values(client)
    counted = {
        name[1:]: value for name, value in found.items() if name[0] == "percert_requests_total"
    }
    assert counted == {
        ("/api/v1/health", "GET", "200"): 2,
        ("/api/v1/health", "HEAD", "200"): 1,
        ("/api/v1/health", "other", "405"): 1,
        ("/api/v1/jobs/{job_id}", "GET", "404"): 2,
        ("none", "GET", "404"): 1,
        ("none", "GET", "403"): 1,
    }
    assert found["percert_request_seconds_count", "/api/v1/health"] == 4
    assert found["percert_request_seconds_bucket", "/api/v1/health", "+Inf"] == 4
    assert found["percert_questions_most",] == 7
    assert found["percert_questions",] == 0
    assert found["percert_jobs", "running"] == 0
    assert ("percert_store_images",) not in found  # it has none
    assert values(client)["percert_requests_total", "/metrics", "GET", "200"] == 1


def test_who_may_not_ask_may_not_read_them(serve):
    client = serve(token=TOKEN)
    answer = client.get("/metrics")
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.text
    known = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    assert values(client, **known)["percert_requests_total", "none", "GET", "401"] == 1


def test_an_interface_without_pages_has_them(serve):
    assert ("percert_questions",) in values(serve(api_only=True))


def test_a_worker_process_that_took_the_place_of_another_is_counted(serve):
    client = serve(limits=Limits(questions=1))
    context = client.app.state.context
    files = {"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=2))}
    ask = {"files": files, "data": {"metric": "thumbnail"}}
    assert client.post("/api/v1/compare", **ask).status_code == 200
    assert values(client)["percert_worker_restarts_total", "question"] == 0
    context.questions._children[0].end()
    assert client.post("/api/v1/compare", **ask).status_code == 200
    found = values(client)
    assert found["percert_worker_restarts_total", "question"] == 1
    assert found["percert_worker_restarts_total", "job"] == 0
    assert (found["percert_passes_total",], found["percert_questions_taken_total",]) == (2, 2)


ADD = """
import sys
import torch
from percert.metrics.catalog import create_metric
from percert.search import open_store
store = open_store(sys.argv[1], create_metric("thumbnail", device="cpu"))
for name in sys.argv[2:]:
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    store.add([torch.rand(3, 24, 32, generator=generator)], [name])
"""


def add(place, *names):
    return subprocess.Popen([sys.executable, "-c", ADD, str(place), *names])


def test_a_store_that_another_process_adds_to_is_followed(serve, tmp_path):
    pytest.importorskip("lancedb", reason="the store needs the extra 'search'")
    place = tmp_path / "photos.store"
    assert add(place, "first", "second").wait(300) == 0
    client = serve(Resources(store=str(place)), limits=Limits(answer_seconds=300.0))

    def of_store():
        until = time.monotonic() + 300
        while (found := values(client))["percert_store_readable",] == 0:  # a busy machine
            assert time.monotonic() < until
        return [found[f"percert_store_{name}",] for name in ("images", "rows", "version")]

    images, rows, version = of_store()
    assert (images, rows) == (2, 2)
    names = [f"more-{at}" for at in range(8)]
    writer, seen = add(place, *names), []
    while True:
        over = writer.poll() is not None
        answer = client.post("/api/v1/search", files={"image": png(seed=1)}, data={"k": "20"})
        assert answer.status_code == 200, answer.text
        seen.append({one["id"] for one in answer.json()["results"]} - {"first", "second"})
        if over:
            break
    assert writer.returncode == 0
    # Each answer is of the store as it was at one time: what was added first, and no hole.
    assert all(one == set(names[: len(one)]) for one in seen)
    assert sorted(map(len, seen)) == [len(one) for one in seen]
    assert seen[-1] == set(names)
    assert of_store()[0] == 10
    assert of_store()[2] > version
    (place / "images.lance").rename(tmp_path / "elsewhere")
    gone = values(client)
    assert gone["percert_store_readable",] == 0
    assert ("percert_store_images",) not in gone
