"""Every attack that the server offers runs at its own defaults, by interface and by page."""

import re

import pytest
from tests.app.conftest import png, wait_for
from tests.waiting import PATIENCE

from percert.app import jobs
from percert.app.attack import attacks_offered
from percert.app.resources import Limits

#: Large enough for every distance that an attack uses by default.
IMAGE = png(48, 64, level=90)


@pytest.fixture(scope="module")
def client(serving):
    """A server that cuts attacks short after some seconds, but is patient with a busy machine.

    A step that takes long, or the distances after the last one, are no reason to end a job here:
    that jobs which exceed their time are ended is tested elsewhere.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "GRACE", PATIENCE)
        yield serving(limits=Limits(job_seconds=6.0, kept_jobs=100, waiting_jobs=100))


@pytest.mark.parametrize("name", attacks_offered())
def test_it_runs_at_its_defaults(client, name):
    files, form = {"image": ("a.png", IMAGE)}, {"model": "brightness", "attack": name}
    asked = client.post("/api/v1/attack", files=files, data=form)
    assert asked.status_code == 202, asked.text
    page = client.post("/ui/attack", files=files, data=form, headers={"HX-Request": "true"})
    assert page.status_code == 200, page.text
    (job,) = re.findall(r'sse-connect="/ui/jobs/([^/"]+)/events"', page.text)
    for one in (asked.json()["id"], job):
        found = wait_for(client, one)
        assert (found["state"], found["reason"]) == ("done", None)
        assert found["result"]["attack"] == name
        assert found["result"]["model_calls"] > 0
    shown = client.get(f"/ui/jobs/{job}", headers={"HX-Request": "true"})
    assert shown.status_code == 200
    assert "Fooled" in shown.text or "Not fooled" in shown.text


@pytest.mark.parametrize("name", attacks_offered())
def test_its_defaults_may_be_named(client, name):
    """What the list of attacks shows as settings is accepted as such."""
    (settings,) = [
        one["settings"]
        for one in client.get("/api/v1/about").json()["attacks"]
        if one["name"] == name
    ]
    given = ",".join(one for one in settings.split(",") if not one.endswith("=None"))
    files = {"image": ("a.png", IMAGE)}
    form = {"model": "brightness", "attack": f"{name}:{given}"}
    asked = client.post("/api/v1/attack", files=files, data=form)
    assert asked.status_code == 202, asked.text
    client.delete(f"/api/v1/jobs/{asked.json()['id']}")
