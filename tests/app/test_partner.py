"""A store with a partner, over the interface and on the page: found beside what is certain."""

import re

import pytest
from starlette.testclient import TestClient
from tests.app.conftest import png

from percert.app.resources import Resources
from percert.app.server import create_app
from percert.images.load import decode_image
from percert.metrics.catalog import create_metric
from percert.metrics.descriptor import create_descriptor


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    pytest.importorskip("lancedb", reason="the store needs the extra 'search'")
    from percert.search import open_store

    folder, others = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("strangers")
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(png(seed=seed))
    for seed in range(200):
        (others / f"{seed}.png").write_bytes(png(seed=1000 + seed))
    opened = open_store(folder / "photos.store", create_metric("thumbnail", device="cpu"))
    opened.add_files([folder / f"{seed}.png" for seed in range(4)])
    opened.partner.set(create_descriptor("thumbnail-16", "cpu"), [others])
    opened.partner.fill()
    return opened


def test_both_answer_and_no_folder_of_the_server_is_shown(store, tmp_path):
    image = decode_image(png(seed=3), "q.png")
    (copies,) = store.copies([image], 0.3)
    (nearest,) = store.search([image], 2)
    with TestClient(
        create_app(Resources(store=store.path), tmp_path), base_url="http://localhost"
    ) as client:
        files = {"image": ("q.png", png(seed=3))}
        said = client.post("/api/v1/copies", files=files, data={"threshold": "0.3"}).json()
        assert said["verdict"] == copies.verdict == "certain"
        partner = said["partner"]
        assert (partner["metric"], partner["wrong"]) == ("thumbnail-16", pytest.approx(9.5e-4))
        assert [one["id"] for one in partner["results"]] == [
            one.id for one in copies.partner.results
        ]
        assert partner["results"][0]["path"].count("/") == 1
        assert partner["results"][0]["path"].endswith("/3.png")
        said = client.post("/api/v1/search", files=files, data={"k": "2"}).json()
        assert [one["id"] for one in said["partner"]["results"]] == [
            one.id for one in nearest.partner.results
        ]
        shown = client.post("/ui/search", files=files, headers={"HX-Request": "true"}).text
        assert "Copies by thumbnail-16, without proof" in shown
        assert "The nearest by thumbnail-16, without proof" in shown
        assert not re.search(r"/\w+/[^ \"<]*\.png", shown)
