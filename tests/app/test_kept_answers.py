"""An answer of the page says what was asked, and carries what it was made of."""

import re

import pytest
from tests.app.conftest import png, wait_for

from percert.app import page_jobs
from percert.app.resources import Limits

HTMX = {"HX-Request": "true"}
PAIR = {"reference": ("one.png", png(seed=1)), "candidate": ("two.png", png(seed=2))}


def compare(client, files=PAIR, **form):
    data = {"metric": "thumbnail", **form}
    shown = client.post("/ui/compare", files=files, data=data, headers=HTMX)
    assert shown.status_code == 200, shown.text
    plain = client.post("/api/v1/compare", files=files, data=data).json()
    return shown.text, plain


def address_of(shown):
    return re.search(r'data-address="(/ui/[^"]+)"', shown).group(1)


def bounds(shown):
    eps = float(re.search(r'id="exact-eps"[^>]* value="([^"]+)"', shown).group(1))
    lower, upper = (
        float(re.search(rf'id="{name}">([^<]+)<', shown).group(1)) for name in ("lower", "upper")
    )
    return eps, lower, upper


@pytest.mark.parametrize("eps", ["0", "0.5", "5", "0.1234567", "1e-7", "6.407"])
def test_the_page_says_the_eps_that_was_asked_as_the_interface_does(client, eps):
    shown, plain = compare(client, eps=eps)
    said, lower, upper = bounds(shown)
    assert said == float(eps) == plain["eps"]
    # Four decimals, rounded outwards.
    assert lower == pytest.approx(plain["lower"], abs=1e-4)
    assert upper == pytest.approx(plain["upper"], abs=1e-4)
    assert lower <= plain["lower"] <= plain["upper"] <= upper
    rows = [row for row in plain["intervals"] if row["eps"] == plain["eps"]]
    assert [(row["lower"], row["upper"]) for row in rows] == [(plain["lower"], plain["upper"])]
    words = re.search(r'id="shown-eps">([^<]+)<', shown).group(1)
    assert (words == "no change") == (float(eps) == 0)


def test_another_eps_is_asked_of_the_same_images(client):
    shown, _ = compare(client)
    again = client.get(address_of(shown), params={"eps": "0.25"}, headers=HTMX).text
    _, plain = compare(client, eps="0.25")
    said, lower, upper = bounds(again)
    assert said == 0.25
    assert (lower, upper) == pytest.approx((plain["lower"], plain["upper"]), abs=1e-4)
    assert address_of(again).endswith("?eps=0.25")
    assert "<html" in client.get(address_of(again)).text
    assert client.get(address_of(shown), params={"eps": "-1"}).status_code == 422


def test_an_attack_is_on_the_answers_images_and_eps(client):
    shown, plain = compare(client)
    compare(client, {"reference": PAIR["candidate"], "candidate": ("c.png", png(seed=9))})
    started = client.post(f"{address_of(shown)}/attack", data={"eps": "0.3"}, headers=HTMX)
    job = wait_for(client, re.search(r"/ui/jobs/([^/\"]+)/cancel", started.text).group(1))
    assert job["result"]["eps"] == 0.3
    assert job["result"]["before"] == pytest.approx(plain["distance"], abs=1e-12)
    page = client.get(f"/ui/jobs/{job['id']}").text
    assert "two.png is not a copy of one.png" in page
    assert bounds(page)[0] == 0.3
    assert "Within the proven interval" in page


def test_a_judgement_is_attacked_with_its_own_images(client):
    files = {"reference": PAIR["reference"], "left": PAIR["candidate"], "right": ("c", png(seed=3))}
    data = {"metric": "thumbnail"}
    shown = client.post("/ui/judge", files=files, data=data, headers=HTMX).text
    plain = client.post("/api/v1/judge", files=files, data=data).json()
    started = client.post(f"{address_of(shown)}/attack", data={"times": "3"}, headers=HTMX)
    job = wait_for(client, re.search(r"/ui/jobs/([^/\"]+)/cancel", started.text).group(1))
    assert job["result"]["radius"] == pytest.approx(plain["standings"][0]["radius"])
    assert "is closer to one.png than" in client.get(f"/ui/jobs/{job['id']}").text


def test_a_browser_without_scripts_is_sent_to_the_answers_address(client):
    answer = client.post(
        "/ui/compare", files=PAIR, data={"metric": "thumbnail"}, follow_redirects=False
    )
    assert answer.status_code == 303
    page = client.get(answer.headers["location"])
    assert "two.png is not a copy of one.png" in page.text
    started = client.post(f"{answer.headers['location']}/attack", follow_redirects=False)
    assert started.status_code == 303
    job = started.headers["location"]
    wait_for(client, job.rpartition("/")[2])
    assert "Within the proven interval" in client.get(job).text


def test_a_page_that_shows_a_running_attack_asks_again_though_it_ends_meanwhile(serve, monkeypatch):
    client = serve()
    shown, _ = compare(client)
    started = client.post(f"{address_of(shown)}/attack", follow_redirects=False)
    job = started.headers["location"]
    wait_for(client, job.rpartition("/")[2])
    state = {"now": "running"}
    look, answer = page_jobs.view, page_jobs.fragment

    async def it_ends_meanwhile(*asked, **more):
        state["now"] = "done"
        return await answer(*asked, **more)

    monkeypatch.setattr(page_jobs, "view", lambda found: look(found) | {"state": state["now"]})
    monkeypatch.setattr(page_jobs, "fragment", it_ends_meanwhile)
    running, ended = client.get(job).text, client.get(job).text
    assert "<h2>Attacking</h2>" in running
    assert 'http-equiv="refresh"' in running
    assert "Within the proven interval" in ended
    assert 'http-equiv="refresh"' not in ended


def test_the_answers_pictures_are_its_own_and_no_other(client):
    shown, _ = compare(client)
    kept = address_of(shown).rpartition("/")[2]
    for role in ("reference", "candidate"):
        assert client.get(f"/ui/kept/{kept}/{role}").content.startswith(b"\x89PNG")
    for path in (f"{kept}/left", f"{kept}/..%2freference", "nothing/reference"):
        assert client.get(f"/ui/kept/{path}").status_code == 404
    assert client.get(f"/ui/judge/{kept}").status_code == 404


@pytest.mark.parametrize(
    ("limits", "left"), [({"kept_bytes": 1}, 1), ({"kept_seconds": 1e-9}, 0), ({}, 3)]
)
def test_answers_are_forgotten_by_age_and_size(serve, limits, left):
    client = serve(limits=Limits(**limits))
    addresses = [address_of(compare(client)[0]) for _ in range(3)]
    found = [client.get(one).status_code for one in addresses]
    assert found == [404] * (3 - left) + [200] * left
    assert len(list(client.folder.glob("answer-*"))) == left


def test_a_question_that_is_refused_leaves_nothing(serve):
    client = serve()
    files = {"reference": PAIR["reference"], "candidate": ("b.png", b"GIF89a" + bytes(40))}
    assert client.post("/ui/compare", files=files, headers=HTMX).status_code == 422
    assert list(client.folder.glob("answer-*")) == []
