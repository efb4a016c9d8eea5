"""Questions that wait for a store are answered in one pass, each with its own answer."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.app.conftest import png
from tests.waiting import wait_until

from percert.app.errors import RefusedRequest
from percert.app.resources import Limits, Resources
from percert.app.worker import WorkerSettings
from percert.app.workers import Workers
from percert.images.load import decode_image


def wait(worker, place):
    """Until there is a file at ``place``."""
    while not place.exists():
        time.sleep(0.02)


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("lancedb", reason="the store needs the extra 'search'")
    from percert.metrics.catalog import create_metric
    from percert.search import open_store

    opened = open_store(tmp_path / "photos.store", create_metric("thumbnail", device="cpu"))
    images = [decode_image(png(seed=seed), "image") for seed in range(8)]
    opened.add(images, [f"image-{seed}" for seed in range(8)])
    return opened


@pytest.fixture
def held(serve, store, tmp_path):
    """``held(questions, pool)`` sends them while the one worker is busy, and lets it go then."""
    client = serve(Resources(store=store.path), limits=Limits(questions=1, answer_seconds=300.0))
    context = client.app.state.context

    def send(questions, pool):
        go = tmp_path / "go"
        first = pool.submit(client.portal.call, context.ask, wait, go)
        sent = [pool.submit(client.post, f"/api/v1{path}", **more) for path, more in questions]
        until = time.monotonic() + 300
        while not context.questions.passes or context.questions.held < 1 + len(questions):
            assert time.monotonic() < until
            time.sleep(0.02)
        before = context.questions.passes
        go.touch()
        first.result(300)
        answers = [one.result(300) for one in sent]
        return answers, context.questions.passes - before

    return send


def asked(path, seed, image=None, **data):
    return path, {"files": {"image": (f"{seed}.png", image or png(seed=seed))}, "data": data}


def test_those_that_wait_share_a_pass_and_have_the_answer_of_one_alone(held, store):
    copies = [asked("/copies", seed, threshold="0.3", eps="0.1") for seed in range(8)]
    nearest = [asked("/search", seed, k="3", eps="0.1") for seed in range(8)]
    other = [asked("/search", 3, k="2"), asked("/search", 3, image=png(40, 50, seed=3), k="2")]
    broken = asked("/search", 9, image=b"nothing", k="3", eps="0.1")
    with ThreadPoolExecutor(24) as pool:
        answers, passes = held([*copies, *nearest, *other, broken], pool)
    assert passes == 3  # one of copies, one of k = 3, one of k = 2
    *good, bad = answers
    assert {one.status_code for one in good} == {200}
    assert (bad.status_code, "9.png" in bad.json()["reason"]) == (422, True)
    images = [decode_image(png(seed=seed), "image") for seed in range(8)]
    alone = [store.copies([image], 0.3, 0.1)[0] for image in images]
    alone += [store.search([image], 3, 0.1)[0] for image in images]
    for seed, answer, expected in zip([*range(8)] * 2, good, alone, strict=False):
        found = answer.json()
        assert found["query"] == f"{seed}.png"
        assert [one["id"] for one in found["results"]] == [one.id for one in expected.results]
        for one, match in zip(found["results"], expected.results, strict=True):
            for name in ("distance", "lower", "upper", "radius"):
                assert one[name] == pytest.approx(getattr(match, name), rel=1e-6, abs=1e-9)
            assert one["certain"] == match.certain


def test_a_setting_that_is_wrong_is_refused_to_each(held):
    with ThreadPoolExecutor(4) as pool:
        answers, passes = held([asked("/copies", seed, threshold="2.5") for seed in range(3)], pool)
    assert passes == 1
    assert {one.status_code for one in answers} == {422}
    assert all("threshold" in one.json()["reason"] for one in answers)


def test_images_beyond_one_image_of_the_limit_make_several_passes(store, monkeypatch):
    from percert.app.images import Upload
    from percert.app.search import answer_together, ask_nearest
    from percert.app.worker import Worker

    sizes = []

    def ask(store, images, names, k, eps):
        sizes.append(len(images))
        return ask_nearest(store, images, names, k, eps)

    limits = Limits(pixels=2 * 24 * 32)
    worker = Worker(limits, Resources(store=store.path), None, None)
    uploads = [Upload(f"{seed}.png", png(seed=seed)) for seed in range(5)]
    found = answer_together(worker, uploads, ask, 1, None)
    assert [one["query"] for one in found] == [f"{seed}.png" for seed in range(5)]
    assert sizes == [2, 2, 1]


def careful(worker, given):
    """Ends its process where several are given, or one that is "bad"."""
    if len(given) > 1 or given == ["bad"]:
        os._exit(3)
    return [f"{one} alone" for one in given]


def several(worker, given):
    return [ValueError(one) if one == "bad" else (one, len(given)) for one in given]


@pytest.fixture
def workers(tmp_path):
    settings = WorkerSettings(Limits(), Resources(), tmp_path)
    made = Workers(1, 6, "test", settings, together=4)
    yield made
    made.close(60)


def lined_up(workers, tmp_path, function, given):
    """The futures of ``function`` for each, which were in line at once."""

    def call(child, asked):
        return child.call(function, asked, seconds=300)

    go = tmp_path / "go"
    first = workers.submit(lambda child: child.call(wait, go, seconds=300))
    futures = [workers.submit_like("like", call, one) for one in given]
    while workers.held < 7:
        workers.submit(lambda child: child.call(wait, go, seconds=300))
    with pytest.raises(RefusedRequest, match="7 requests"):
        workers.submit(lambda child: 3)
    go.touch()
    first.result(300)
    return futures


def test_a_pass_that_ends_its_process_is_tried_one_by_one(workers, tmp_path):
    futures = lined_up(workers, tmp_path, careful, ["a", "bad", "b"])
    assert futures[0].result(300) == "a alone"
    assert futures[2].result(300) == "b alone"
    with pytest.raises(RefusedRequest, match="The system ended it"):
        futures[1].result(300)
    assert workers.restarts == 2
    until = time.monotonic() + 300
    while workers.held:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_one_pass_takes_no_more_than_it_may_and_fails_for_those_it_names(workers, tmp_path):
    futures = lined_up(workers, tmp_path, several, ["a", "b", "bad", "c", "d"])
    assert [futures[at].result(300) for at in (0, 1, 3, 4)] == [
        ("a", 4),
        ("b", 4),
        ("c", 4),
        ("d", 1),
    ]
    with pytest.raises(ValueError, match="bad"):
        futures[2].result(300)
    assert workers.restarts == 0


def leave_word(worker):
    with (worker.folder / "first.txt").open("a") as file:
        file.write("first\n")


def fail_first(worker):
    raise RuntimeError("not now")


def read_words(worker):
    place = worker.folder / "first.txt"
    return place.read_text().split() if place.exists() else []


def test_each_process_computes_what_is_slow_once_before_it_is_asked(tmp_path):
    settings = WorkerSettings(Limits(), Resources(), tmp_path)
    made = Workers(2, 6, "test", settings, first=(leave_word, fail_first, leave_word))
    try:
        wait_until(lambda: len(read_words(settings)) == 4)
        asked = made.submit(lambda child: child.call(read_words, seconds=300))
        assert asked.result(300) == ["first"] * 4
        assert made.restarts == 0
    finally:
        made.close(60)
