"""The pages without a browser: what they hold, and that they answer as the interface does."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.app.conftest import png, wait_for

import percert.app
from percert.app.resources import Resources

PAGES = ("/", "/judge", "/attack", "/search", "/audit", "/interface")
ONE, TWO = ("<b>one</b>.png", png(seed=1)), ("two.png", png(seed=2))
HTMX = {"HX-Request": "true"}


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_stands_alone_and_can_be_used_by_keyboard_and_reader(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    page = Elements(answer.text)
    addresses = [
        attributes.get(name, "") for _, attributes in page.found for name in ("src", "href")
    ]
    assert not [one for one in addresses if one and not one.startswith(("/", "#"))]
    assert not [attributes for _, attributes in page.found if "style" in attributes]
    assert not [one for one in page.all("script") if "src" not in one]
    assert not re.search(r"<style|\son[a-z]+=|javascript:", answer.text)
    assert page.all("html") == [{"lang": "en"}]
    labelled = {one.get("for") for one in page.all("label")}
    for tag in ("input", "select", "textarea"):
        for one in page.all(tag):
            assert one.get("type") == "hidden" or one["id"] in labelled, one
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [one for one in page.all("a") if one.get("aria-current") == "page"]
    assert all("alt" in one for one in page.all("img"))
    for address in {one for one in addresses if one.startswith("/static/")}:
        assert client.get(address).status_code == 200


def test_every_template_is_a_small_file_in_the_package():
    folder = Path(percert.app.__file__).parent / "html"
    assert all(len(file.read_text().splitlines()) <= 120 for file in folder.glob("*.html"))
    assert (folder.parent / "static" / "LICENSE.htmx.txt").exists()


def test_compare_shows_the_answer_and_escapes_what_a_client_calls_its_files(client):
    files = {"reference": ONE, "candidate": TWO}
    form = {"metric": "thumbnail"}
    fragment = client.post("/ui/compare", files=files, data=form, headers=HTMX)
    plain = client.post("/api/v1/compare", files=files, data=form).json()
    assert f"{plain['distance']:.4f}" in fragment.text
    assert "<b>" not in fragment.text
    assert "b&gt;.png" in fragment.text
    assert "<html" not in fragment.text
    slider = next(one for one in Elements(fragment.text).all("input") if one["type"] == "range")
    assert int(slider["max"]) == len(plain["intervals"]) - 1
    whole = client.post("/ui/compare", files=files, data=form)
    assert "<html" in whole.text
    assert f"{plain['distance']:.4f}" in whole.text


def test_a_metric_without_a_proof_says_so_on_the_page(client):
    files = {"reference": ONE, "candidate": TWO}
    shown = client.post("/ui/compare", files=files, data={"metric": "ssim"}, headers=HTMX)
    assert "has no proven bound" in shown.text
    assert "eps-slider" not in shown.text
    assert "unrelated photographs" in shown.text
    files = {"reference": ONE, "left": TWO, "right": ONE}
    shown = client.post("/ui/judge", files=files, data={"metric": "ssim"}, headers=HTMX)
    assert "has no proven bound" in shown.text
    assert "times" not in shown.text


def test_judge_shows_the_three_radii(client):
    files = {"reference": ONE, "left": TWO, "right": ("c.png", png(seed=3))}
    shown = client.post("/ui/judge", files=files, data={"metric": "thumbnail"}, headers=HTMX).text
    for what in ("the reference", "both candidates", "all three"):
        assert what in shown


@pytest.mark.parametrize(
    ("path", "files", "form"),
    [
        ("/ui/compare", ("reference", "candidate"), {"metric": "thumbnail"}),
        ("/ui/judge", ("reference", "left", "right"), {"metric": "thumbnail"}),
        ("/ui/attack", ("image",), {"attack": "ascent", "set-step": "1.0", "set-steps": "20"}),
    ],
)
def test_an_attack_shows_its_progress_and_then_its_result(client, path, files, form):
    sent = {name: (name, png(seed=i)) for i, name in enumerate(files)}
    started = client.post(path, files=sent, data=form, headers=HTMX)
    assert started.status_code == 200
    if path != "/ui/attack":  # an answer, which is attacked next
        address = re.search(r'hx-post="(/ui/[^"]+/attack)"', started.text).group(1)
        started = client.post(address, headers=HTMX)
        assert started.status_code == 200
    job = re.search(r'sse-connect="/ui/jobs/([^/"]+)/events"', started.text).group(1)
    found = wait_for(client, job)
    assert found["state"] == "done", found["reason"]
    shown = client.get(f"/ui/jobs/{job}", headers=HTMX).text
    pictures = [one["src"] for one in Elements(shown).all("img")]
    assert pictures == [one["address"] for one in found["pictures"]]
    assert all(client.get(address).status_code == 200 for address in pictures)
    stream = client.get(f"/ui/jobs/{job}/events").text
    assert "event: progress" in stream
    assert stream.rstrip().endswith("event: end\ndata: done")
    assert "<html" in client.get(f"/ui/jobs/{job}").text


def test_cancelling_shows_that(client):
    form = {"model": "stubborn", "attack": "ascent", "set-steps": "100000"}
    started = client.post("/ui/attack", files={"image": ONE}, data=form, headers=HTMX)
    job = re.search(r"/ui/jobs/([^/]+)/cancel", started.text).group(1)
    shown = client.post(f"/ui/jobs/{job}/cancel", headers=HTMX)
    assert "Cancelled" in shown.text
    assert client.get(f"/api/v1/jobs/{job}").json()["state"] == "cancelled"


def test_a_refusal_is_shown_in_place_or_as_a_page(client):
    files = {"reference": ("a.png", b"GIF89a" + bytes(40)), "candidate": TWO}
    shown = client.post("/ui/compare", files=files, headers=HTMX)
    assert shown.status_code == 422
    assert 'role="alert"' in shown.text
    assert "<html" not in shown.text
    page = client.post("/ui/compare", files=files, headers={"Accept": "text/html"})
    assert page.status_code == 422
    assert "<html" in page.text
    assert "a GIF file" in page.text


def test_without_a_classifier_or_a_store_the_page_says_how_to_start_one(serve):
    client = serve(Resources())
    assert "percert app --model" in client.get("/attack").text
    assert "percert app --store" in client.get("/search").text
    answer = client.post("/api/v1/attack", files={"image": ONE})
    assert (answer.status_code, "--model" in answer.json()["reason"]) == (422, True)
    answer = client.post("/api/v1/search", files={"image": ONE})
    assert (answer.status_code, "--store" in answer.json()["reason"]) == (422, True)


def test_the_login_page_is_all_that_is_shown_without_the_token(serve):
    client = serve(token="correct-horse-battery")
    assert 'type="password"' in client.get("/login").text
    refused = client.get("/judge", headers={"Accept": "text/html"})
    assert refused.status_code == 401
    form = Elements(refused.text)
    assert [one["action"] for one in form.all("form")] == ["/login"]
    named = {one["name"]: one.get("value") for one in form.all("input")}
    assert named == {"wanted": "/judge", "token": None}


def test_signing_in_leads_to_what_was_wanted_and_nowhere_else(serve):
    token = "correct-horse-battery"
    client = serve(token=token)
    for wanted, place in (("/judge", "/judge"), ("//evil.example/", "/"), ("/login", "/")):
        answer = client.post(
            "/login", data={"token": token, "wanted": wanted}, follow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert 'action="/logout"' in client.get("/").text
    answer = client.post("/logout", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/").status_code == 401


def test_without_a_token_there_is_nothing_to_sign_out_of(client):
    assert "/logout" not in client.get("/").text
