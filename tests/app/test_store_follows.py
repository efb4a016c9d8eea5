"""A running server shows its store as it is: added to, removed from, replaced, damaged, deleted."""

import shutil
import time

import pytest
from tests.app.conftest import png
from tests.waiting import PATIENCE

from percert.app.resources import Limits, Resources
from percert.images.load import decode_image

pytest.importorskip("lancedb", reason="the store needs the extra 'search'")

HTMX = {"HX-Request": "true"}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "photos.store"


def opened(place):
    from percert.metrics.catalog import create_metric
    from percert.search import open_store

    return open_store(place, create_metric("thumbnail", device="cpu"))


def add(place, *seeds):
    images = [decode_image(png(seed=seed), "image") for seed in seeds]
    opened(place).add(images, [f"image-{seed}" for seed in seeds])


def found(client, seed=1):
    files = {"image": ("q.png", png(seed=seed))}
    answer = client.post("/api/v1/search", files=files, data={"k": "9"})
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in answer.json()["results"]}


def about(client):
    until = time.monotonic() + PATIENCE
    while True:
        said = client.get("/api/v1/about").json()
        if said["store_problem"] != "The store does not answer.":
            return said
        assert time.monotonic() < until


def test_what_others_add_remove_and_replace_is_seen(serve, place):
    add(place, 1, 2)
    client = serve(Resources(store=str(place)))
    assert found(client) == {"image-1", "image-2"}
    add(place, 3)
    assert found(client) == {"image-1", "image-2", "image-3"}
    assert about(client)["store"]["images"] == 3
    opened(place).remove(["image-1"])
    assert found(client) == {"image-2", "image-3"}
    assert about(client)["store"]["images"] == 2
    shutil.rmtree(place)
    add(place, 7, 8)
    assert found(client) == {"image-7", "image-8"}


def halve(place):
    for file in place.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwrite_the_data(place):
    for file in place.rglob("*.lance"):
        if file.is_file():
            file.write_bytes(b"nothing")


@pytest.mark.parametrize("harm", [shutil.rmtree, halve])
def test_a_store_that_is_gone_or_damaged_is_said_in_the_usual_form(serve, place, harm):
    add(place, 1, 2)
    client = serve(Resources(store=str(place)))
    assert about(client)["store"]["images"] == 2
    harm(place)
    assert_unreadable(client, place)


def test_data_that_were_damaged_before_they_were_read_are_said_in_the_usual_form(serve, place):
    add(place, 1, 2)
    overwrite_the_data(place)
    assert_unreadable(serve(Resources(store=str(place))), place)


def test_data_that_are_damaged_after_they_were_read_change_no_answer(serve, place):
    add(place, 1, 2)
    # One process, so that the one that read is the one that is asked again.
    client = serve(Resources(store=str(place)), limits=Limits(questions=1))
    assert found(client) == {"image-1", "image-2"}
    overwrite_the_data(place)
    assert found(client) == {"image-1", "image-2"}


def assert_unreadable(client, place):
    query = {"image": ("q.png", png(seed=5))}
    for path in ("/api/v1/search", "/api/v1/copies"):
        answer = client.post(path, files=query, data={"threshold": "0.2"})
        assert answer.status_code == 503, answer.text
        assert "store cannot be read" in answer.json()["reason"]
        assert str(place) not in answer.text
    picture = client.get("/api/v1/store/picture", params={"id": "image-1"})
    assert (picture.status_code, set(picture.json())) == (503, {"reason"})
    shown = client.post("/ui/search", files=query, headers=HTMX)
    assert (shown.status_code, 'role="alert"' in shown.text) == (503, True)
    for page in ("/", "/search"):
        assert client.get(page).status_code == 200


def test_a_store_that_was_deleted_is_said_on_its_page_until_there_is_one_again(serve, place):
    add(place, 1)
    client = serve(Resources(store=str(place)))
    assert found(client) == {"image-1"}
    shutil.rmtree(place)
    said = about(client)
    assert (said["store"], said["store_problem"]) == (None, "The store cannot be read now.")
    assert "The store cannot be read now." in client.get("/search").text
    add(place, 4)
    assert found(client) == {"image-4"}
    assert about(client)["store"]["images"] == 1


def test_answers_give_back_the_ids_of_the_user(serve, place, tmp_path):
    from percert.images import save_image
    from percert.search.own_ids import keep_own_ids

    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in (1, 2):
        save_image(decode_image(png(seed=seed), "image"), photos / f"{seed}.png")
    opened(place).add_files([photos])
    client = serve(Resources(store=str(place)))
    files = {"image": ("q.png", png(seed=1))}
    (first, _) = client.post("/api/v1/search", files=files).json()["results"]
    assert (first["own_id"], first["own_ids"]) == (None, None)
    keep_own_ids(str(place), {str(photos / "1.png"): "A1"})
    first, second = client.post("/api/v1/search", files=files).json()["results"]
    assert (first["own_id"], first["own_ids"], first["path"]) == ("A1", ["A1"], "photos/1.png")
    assert (second["own_id"], second["own_ids"]) == (None, [None])
    (copy, *_) = client.post("/api/v1/copies", files=files, data={"threshold": "0.01"}).json()[
        "results"
    ]
    assert copy["own_id"] == "A1"
