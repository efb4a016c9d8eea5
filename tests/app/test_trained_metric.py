"""A trained metric is offered where the operator names its folder, and to nobody else."""

import shutil

import pytest
from starlette.testclient import TestClient
from tests.app.conftest import png

import percert
from percert.app.errors import RefusedRequest
from percert.app.resources import Resources
from percert.lipschitz.architectures import TinyShape
from percert.metrics.certified import exported
from percert.metrics.certified.exported import NetworkShape
from percert.search import open_store
from percert.training.student import new_student, save_model


@pytest.fixture
def folder(tmp_path):
    shape = NetworkShape(family="tiny", tiny=TinyShape(48, (1, 1, 1), 32, inner=16), constant=0.0)
    network = new_student(shape, "mine", 0).network
    save_model(network, shape, "mine", tmp_path / "mine", {}, copy_threshold=0.5)
    return str(tmp_path / "mine")


def ask(client: TestClient, metric: str):
    files = {"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=1))}
    return client.post("/api/v1/compare", files=files, data={"metric": metric})


def test_the_operators_metric_is_asked_by_its_folders_name_alone(serve, folder, tmp_path):
    client = serve(Resources(checkpoints={folder: None}))
    answer = ask(client, "mine")
    assert answer.status_code == 200, answer.text
    assert answer.json()["metric"] == "mine"
    assert ask(client, folder).status_code == 422
    for address in ("/api/v1/about", "/", "/attack", "/interface"):
        assert str(tmp_path) not in client.get(address).text
    assert "mine" in client.get("/api/v1/about").text
    shown = client.post(
        "/ui/compare",
        files={"reference": ("a.png", png(seed=1)), "candidate": ("b.png", png(seed=2))},
        data={"metric": "mine"},
        headers={"HX-Request": "true"},
    )
    assert "Distance by mine: 0 is the same, 2 the far end" in shown.text


def test_two_metrics_of_one_name_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other" / "mine")
    with pytest.raises(ValueError, match="two are called mine"):
        Resources(checkpoints={folder: None, str(tmp_path / "other" / "mine"): None})


@pytest.mark.parametrize("name", ["hf-hub:somebody/something", "folder"])
def test_no_client_has_the_server_look_or_fetch(serve, folder, monkeypatch, name):
    def looked(*_):
        pytest.fail("the server followed a client's name")

    monkeypatch.setattr(exported, "exported_folder", looked)
    monkeypatch.setattr(exported, "read_config", looked)
    asked = folder if name == "folder" else name
    with pytest.raises(
        RefusedRequest, match="metric: unknown name"
    ):  # here, where it would be seen
        Resources().card(asked)
    answer = ask(serve(Resources()), asked)
    assert answer.status_code == 422
    assert "metric: unknown name" in answer.text


def test_the_store_of_a_trained_metric_is_opened_with_it(folder, tmp_path):
    pytest.importorskip("lancedb")
    metric = percert.create_metric(folder, device="cpu")
    open_store(tmp_path / "store", metric)
    place = str(tmp_path / "store")
    assert Resources(checkpoints={folder: None}).open_store(place).metric_id.name == "mine"
    with pytest.raises(ValueError, match="trained metric called mine: name its folder"):
        Resources().open_store(place)
