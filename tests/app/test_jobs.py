"""Attacks as jobs: progress, results that can be checked, cancelling, time, and files."""

import io
import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import png, wait_for
from tests.waiting import PATIENCE, wait_until

from percert.app import jobs
from percert.app import workers as child
from percert.app.errors import RefusedRequest
from percert.app.jobs import Job, Jobs
from percert.app.resources import Limits, Resources
from percert.app.worker import JobRun, WorkerSettings
from percert.app.workers import TookTooLong, Workers


@pytest.fixture
def client(serve):
    """A server of its own for each: jobs take turns, and leave files."""
    return serve()


ENDLESS = {"model": "stubborn", "attack": "ascent:steps=100000"}


def attack(client, image=None, **form):
    files = {"image": ("a.png", image or png(level=90))}
    data = {"model": "brightness", **form}
    return client.post("/api/v1/attack", files=files, data=data)


def pixels(client, found, name):
    address = {one["name"]: one["address"] for one in found["pictures"]}[name]
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(float) / 255


def test_an_attack_on_a_classifier_comes_back_with_everything(client):
    started = attack(client, attack="ascent:step=1.0,steps=50")
    assert started.status_code == 202
    found = wait_for(client, started.json()["id"])
    result = found["result"]
    assert (found["state"], result["success_8bit"]) == ("done", True)
    assert (result["prediction_before"], result["prediction_after"]) == (0, 1)
    before, after = pixels(client, found, "before"), pixels(client, found, "after")
    assert np.all(before == 90 / 255)
    assert after.mean() > 0.5  # bright, by the classifier's own rule
    distances = {one["metric"]: one["value"] for one in result["distances"]}
    change = after - before
    assert distances["l2"] == pytest.approx(np.linalg.norm(change), rel=1e-5)
    assert distances["linf"] == pytest.approx(np.abs(change).max(), rel=1e-5)
    absent = {one["metric"]: one["why_not"] for one in result["distances"] if one["why_not"]}
    assert absent == {"ms-ssim": "needs 161 pixels a side"}
    # The linear model's softmax of the two means, as written in the fixture.
    probability = {one["name"]: one for one in result["probabilities"]}["bright"]
    for mean, said in ((90 / 255, probability["before"]), (after.mean(), probability["after"])):
        assert said == pytest.approx(1 / (1 + np.exp(-80 * (mean - 0.5))), abs=1e-4)
    assert [one["name"] for one in found["pictures"]] == [
        "before",
        "after",
        "difference",
        "visible",
    ]


def test_a_targeted_attack_goes_where_it_is_told(client):
    found = wait_for(client, attack(client, attack="ascent:step=1.0", target="1").json()["id"])
    assert found["result"]["prediction_after"] == 1
    stays = wait_for(client, attack(client, attack="ascent:step=1.0", target="7").json()["id"])
    assert (stays["state"], stays["result"]) == ("failed", None)
    assert stays["reason"] == "target: expected a class from 0 to 1, found 7"


def test_a_large_image_is_reduced_and_that_is_said(serve):
    client = serve(limits=Limits(attack_side=16))
    found = wait_for(client, attack(client, attack="ascent:step=1.0").json()["id"])
    assert found["result"]["resolution"] == [12, 16]
    assert found["result"]["reduced_from"] == [24, 32]
    assert pixels(client, found, "after").shape == (12, 16, 3)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"attack": "asccent"}, "did you mean 'ascent'?"),
        ({"attack": "ascent:stps=3"}, "unknown option 'stps'"),
        ({"attack": "foolbox"}, "attack foolbox: not offered here"),
        ({"attack": "human-perc-ot:checkpoint=/etc/passwd"}, "files cannot be named here"),
        ({"attack": "human-perc-ot:cost=lpips-alex"}, "cost: expected one of"),
        ({"attack": "lpa:metric=dreamsim"}, "metric: expected one of"),
        ({"model": "resnet"}, "expected one of brightness, stubborn, deaf, found 'resnet'"),
        ({"target": "-1"}, "target: Input should be greater"),
    ],
)
def test_what_cannot_be_attacked_is_refused_at_once(client, form, reason):
    answer = attack(client, **form)
    assert answer.status_code == 422
    assert reason in answer.json()["reason"]
    assert list(client.folder.iterdir()) == []


def test_the_attack_on_a_comparison_stays_within_what_is_proven(client):
    files = {"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=2))}
    form = {"metric": "thumbnail", "eps": "0.5"}
    started = client.post("/api/v1/compare/attack", files=files, data=form)
    found = wait_for(client, started.json()["id"])
    result = found["result"]
    assert result["within"] is True
    assert result["lower"] <= result["nearest"] < result["before"] < result["farthest"]
    assert result["farthest"] <= result["upper"]
    # thumbnail is linear, so a good attack goes most of the way to the bound.
    way = (result["farthest"] - result["before"]) / (result["upper"] - result["before"])
    assert way > 0.8
    plain = client.post("/api/v1/compare", files=files, data=form).json()
    assert (result["lower"], result["upper"]) == (plain["lower"], plain["upper"])
    assert result["direction"] == ("away" if plain["copy"] else "towards")


def test_the_attack_on_a_judgement_fails_inside_and_succeeds_far_outside(client):
    names = ("reference", "left", "right")
    files = {name: (name, png(seed=i)) for i, name in enumerate(names)}
    form = {"metric": "thumbnail", "times": "3"}
    started = client.post("/api/v1/judge/attack", files=files, data=form)
    result = wait_for(client, started.json()["id"])["result"]
    inside, outside = result["attempts"]
    assert (inside["where"], inside["flipped"], result["sound"]) == ("inside", False, True)
    assert (outside["where"], outside["flipped"]) == ("outside", True)
    assert inside["l2"] <= inside["eps"] == pytest.approx(0.99 * result["radius"])
    # Inside it comes close to turning round: the radius of a linear metric is exact.
    gap = abs(inside["distance_left"] - inside["distance_right"])
    plain = client.post("/api/v1/judge", files=files, data={"metric": "thumbnail"}).json()
    assert gap < 0.2 * abs(plain["distance_left"] - plain["distance_right"])


def test_only_a_metric_with_a_proof_is_attacked(client):
    files = {"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=2))}
    answer = client.post("/api/v1/compare/attack", files=files, data={"metric": "ssim"})
    assert answer.status_code == 422
    assert "no proven bound" in answer.json()["reason"]


def test_a_job_that_ends_while_it_is_looked_at_is_seen_in_one_state(tmp_path):
    class Ending(Job):
        """Ends as soon as anybody has asked for its state."""

        looks = 0

        @property
        def state(self):
            self.looks += 1
            return "running" if self.looks == 1 else "done"

        @state.setter
        def state(self, to):
            pass

    seen = jobs.view(Ending("j", "compare", tmp_path, 1.0))
    assert (seen["state"], seen["result"], seen["pictures"]) == ("running", None, [])


def test_progress_is_streamed_and_cancelling_ends_it(client):
    job = attack(client, **ENDLESS).json()["id"]
    seen = []

    def listen():
        with client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            seen.extend(stream.iter_lines())

    listener = threading.Thread(target=listen)
    listener.start()
    wait_until(lambda: client.get(f"/api/v1/jobs/{job}").json()["done"] >= 10)
    cancelled = client.delete(f"/api/v1/jobs/{job}").json()
    assert (cancelled["state"], cancelled["result"]) == ("cancelled", None)
    listener.join(PATIENCE)
    assert seen[-3:-1] == ["event: end", "data: cancelled"] or seen[-2:] == [
        "event: end",
        "data: cancelled",
    ]
    progress = [json.loads(line[6:]) for line in seen if line.startswith('data: {"state"')]
    assert progress[-1]["state"] == "cancelled"
    counts = [one["done"] for one in progress]
    assert counts == sorted(counts)
    # The thread is free again: another job comes to its end.
    assert wait_for(client, attack(client, attack="ascent:step=1.0").json()["id"])["result"]


def test_a_job_whose_time_is_over_gives_the_best_so_far(serve, monkeypatch):
    # A busy machine takes long to bring the first worker up.
    monkeypatch.setattr(jobs, "GRACE", 60.0)
    client = serve(limits=Limits(job_seconds=1.0))
    found = wait_for(client, attack(client, **ENDLESS).json()["id"])
    assert (found["state"], found["reason"]) == ("done", None)
    assert found["result"]["cut_short"] is True
    assert found["result"]["success"] is False


def test_too_many_jobs_are_refused_and_those_that_wait_can_be_cancelled(serve):
    client = serve(limits=Limits(jobs=1, waiting_jobs=1))
    running, waiting = (attack(client, **ENDLESS).json()["id"] for _ in range(2))
    refused = attack(client, **ENDLESS)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert client.delete(f"/api/v1/jobs/{waiting}").json()["state"] == "cancelled"
    assert client.delete(f"/api/v1/jobs/{running}").json()["state"] == "cancelled"
    wait_until(lambda: attack(client, attack="ascent:step=1.0").status_code != 429)


def test_uploads_are_removed_with_the_job_and_results_after_a_while(serve):
    client = serve(limits=Limits(kept_jobs=1))
    jobs = [attack(client, attack="ascent:step=1.0").json()["id"] for _ in range(2)]
    for job in jobs:
        wait_for(client, job)
    assert list(client.folder.rglob("upload-*")) == []
    assert client.get(f"/api/v1/jobs/{jobs[0]}").status_code == 404
    assert client.get(f"/api/v1/jobs/{jobs[1]}").status_code == 200
    assert len(list(client.folder.glob("job-*"))) == 1


def test_there_are_only_the_pictures_that_a_job_made(client):
    job = attack(client, attack="ascent:step=1.0").json()["id"]
    wait_for(client, job)
    for name in ("upload-0", "..%2fbefore", "before.png", "%2e%2e%2fbefore", "nothing"):
        assert client.get(f"/api/v1/jobs/{job}/pictures/{name}").status_code == 404


@pytest.mark.parametrize("number", ["steps", "rescale_steps"])
def test_numbers_of_clients_have_bounds(client, number):
    answer = attack(client, attack=f"ascent:{number}=1000000000")
    assert answer.status_code == 422
    assert f"{number}: expected at most 100000, found 1e+09" in answer.json()["reason"]
    answer = attack(client, attack="ascent:step=inf")
    assert (answer.status_code, "step: expected at most" in answer.text) == (422, True)


def test_a_job_that_never_looks_at_the_clock_is_ended_and_the_next_one_runs(serve, monkeypatch):
    monkeypatch.setattr(jobs, "GRACE", 0.5)
    client = serve(limits=Limits(jobs=1, job_seconds=4.0))
    stuck = wait_for(client, attack(client, model="deaf").json()["id"])
    assert (stuck["state"], stuck["reason"]) == ("failed", "It took more than 4 seconds.")
    monkeypatch.setattr(jobs, "GRACE", 60.0)  # a busy machine takes long to bring a worker up
    found = wait_for(client, attack(client, attack="ascent:step=1.0").json()["id"])
    assert found["result"]["success_8bit"] is True


def test_cancelling_frees_the_place_of_a_job_that_does_not_listen(serve, monkeypatch):
    monkeypatch.setattr(child, "GRACE", 0.5)
    client = serve(limits=Limits(jobs=1))
    stuck = attack(client, model="deaf").json()["id"]
    wait_until(lambda: client.get(f"/api/v1/jobs/{stuck}").json()["state"] == "running")
    assert client.delete(f"/api/v1/jobs/{stuck}").json()["state"] == "cancelled"
    found = wait_for(client, attack(client, attack="ascent:step=1.0").json()["id"])
    assert found["result"]["success_8bit"] is True


@pytest.fixture
def started(tmp_path):
    """Jobs with one worker, closed in the end."""
    made = Jobs(WorkerSettings(Limits(jobs=1), Resources(), tmp_path))
    yield made
    assert made.close(PATIENCE)


def until_over(*all_jobs):
    wait_until(lambda: all(job.over for job in all_jobs))


def seven(run):
    return 7


def broken(run):
    return [][1]


def killed(run):
    os.kill(os.getpid(), signal.SIGKILL)


def endless(run):
    watch = run.watch("working")
    while watch(0, 1, 1):
        time.sleep(0.01)


def test_a_defect_ends_the_job_and_not_the_worker(started, caplog):
    first, second = started.create("attack"), started.create("attack")
    started.start(first, broken)
    started.start(second, seven)
    until_over(first, second)
    assert (first.state, second.state, second.result) == ("failed", "done", 7)
    assert "fault of percert" in first.reason
    assert "IndexError" in caplog.text


def test_a_worker_that_is_killed_ends_its_job_and_another_takes_its_place(started):
    first, second = started.create("attack"), started.create("attack")
    started.start(first, killed)
    started.start(second, seven)
    until_over(first, second)
    assert (first.state, second.state) == ("failed", "done")
    assert "may need too much memory" in first.reason


def test_stopping_cancels_what_runs_and_what_waits(started):
    running, waiting = started.create("attack"), started.create("attack")
    started.start(running, endless)
    started.start(waiting, endless)
    wait_until(lambda: running.doing == "working")
    assert started.close(PATIENCE)
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    with pytest.raises(RefusedRequest, match="stopping"):
        started.start(started.create("attack"), endless)


class Silent:
    """A worker that nobody listens to."""

    resources = None

    def __init__(self):
        self.said = []

    def tell(self, *said):
        self.said.append(said)

    def check(self):
        pass


def test_parts_of_a_job_count_on(tmp_path):
    worker, job = Silent(), Job("x", "judge", tmp_path, 100.0)
    inside = JobRun(worker, tmp_path, 100.0)
    first, second = inside.watch("one", 0, 2), inside.watch("two", 1, 2)
    assert first(30, 40, 1)
    assert second(10, 40, 1)
    assert worker.said == [("progress", "one", 30, 80), ("progress", "two", 50, 80)]
    for kind, *said in worker.said:
        job.hear(kind, tuple(said))
    assert (job.done, job.total, job.doing) == (50, 80, "two")


def one(worker, images):
    return images.sum()


def nap(worker, seconds):
    time.sleep(seconds)
    return True


def test_the_line_before_the_workers_is_limited(tmp_path):
    workers = Workers(1, 1, "test", WorkerSettings(Limits(), Resources(), tmp_path))
    first = workers.submit(lambda child: child.call(nap, 1.0, seconds=PATIENCE))
    second = workers.submit(lambda child: child.call(one, np.ones(3), seconds=PATIENCE))
    with pytest.raises(RefusedRequest, match="2 requests") as refused:
        workers.submit(lambda child: 3)
    assert refused.value.status == 429
    assert first.result(PATIENCE) is True
    assert second.result(PATIENCE) == 3
    assert workers.submit(lambda child: 3).result(PATIENCE) == 3
    assert workers.close(PATIENCE)


def test_a_computation_is_ended_when_its_time_is_over(tmp_path):
    workers = Workers(1, 1, "test", WorkerSettings(Limits(), Resources(), tmp_path))
    assert workers.submit(lambda child: child.call(nap, 0.0, seconds=PATIENCE)).result(PATIENCE)
    with pytest.raises(TookTooLong):
        workers.submit(lambda child: child.call(nap, 6e4, seconds=0.5)).result(PATIENCE)
    assert workers.submit(lambda child: child.call(nap, 0.0, seconds=PATIENCE)).result(PATIENCE)
    assert workers.close(PATIENCE)
