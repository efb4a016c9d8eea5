"""A study: pairs once, catch pairs, one answer a pair, counts alone; in a browser, too."""

import csv
import socket
import threading
import time
from collections import Counter

import pytest
from tests.app.conftest import png
from tests.app.test_browser import browser, needs_chromium, shots  # noqa: F401  # fixtures

pytest.importorskip("fastapi", reason="the app is in the extra app")

import uvicorn
from starlette.testclient import TestClient

from percert.app.server import create_study_app
from percert.app.study import SHOWN_SECONDS, SLACK_SECONDS, StudyFiles, open_study
from percert.data.judged_pairs import noticed_pairs


@pytest.fixture
def files(tmp_path):
    """Two references; of one picture two changed ones, of the other one."""
    for name, seed in (("a", 1), ("a-little", 2), ("a-much", 3), ("b", 4), ("b-much", 5)):
        (tmp_path / f"{name}.png").write_bytes(png(40, 50, seed=seed))
    table = tmp_path / "pairs.csv"
    table.write_text(
        "reference,changed,group\na.png,a-little.png,little\na.png,a-much.png,much\n"
        "b.png,b-much.png,much\n"
    )
    return StudyFiles(table)


@pytest.fixture
def study(files, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return open_study(files, folder)


def test_every_pair_and_every_reference_beside_itself_is_shown_once(study):
    pairs = Counter((pair.reference, pair.changed, pair.group) for pair in study.pairs)
    assert set(pairs.values()) == {1}
    catch = {pair for pair in pairs if pair[2] == "none"}
    assert catch == {("a.png", "a.png", "none"), ("b.png", "b.png", "none")}
    assert len(pairs) == 5
    orders = {tuple(study.observers[study.begin()].order) for _ in range(30)}
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len(orders) > 5  # each observer's own
    sides = Counter(side for one in study.observers.values() for side in one.swapped)
    assert min(sides.values()) > 40  # of 150, half on either side


def test_pictures_are_shown_once_for_a_while_and_never_before(study):
    observer = study.observers[study.begin()]
    assert study.picture(observer, 0, now=0.0) is None
    assert study.show(observer, now=100.0)
    assert not study.show(observer, now=101.0)
    pair = study.pairs[observer.order[0]]
    shown = {study.picture(observer, side, now=104.0) for side in (0, 1)}
    assert shown == {study.pictures[pair.reference], study.pictures[pair.changed]}
    assert study.picture(observer, 0, now=100.1 + SHOWN_SECONDS + SLACK_SECONDS) is None


def test_one_answer_a_pair_is_counted_and_nothing_of_who_gave_it(study, files):
    first, second = (study.observers[study.begin()] for _ in range(2))
    for observer, different in ((first, True), (second, False)):
        for place in range(5):
            study.answer(observer, place, different)  # not shown yet: not counted
            study.show(observer)
            study.answer(observer, place, different)
            study.answer(observer, place, not different)  # a second one is not counted
    with files.counted.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row) for row in rows] == [
        ("reference", "changed", "group", "observers", "said_different")
    ] * 5
    assert {(row["observers"], row["said_different"]) for row in rows} == {("2", "1")}
    read = noticed_pairs(files.counted)
    assert [(pair.seen, pair.observers) for pair in read] == [(0.5, 2)] * 5
    assert read[0].candidate.is_file()


def test_a_study_goes_on_with_its_counts_and_refuses_those_of_another(study, files, tmp_path):
    observer = study.observers[study.begin()]
    study.show(observer)
    study.answer(observer, 0, True)
    again = open_study(files, tmp_path)
    assert again.counts == study.counts
    files.counted.write_text("reference,changed,group,observers,said_different\nx,y,,1,1\n")
    with pytest.raises(ValueError, match="expected the answers to this study, found a row of x"):
        open_study(files, tmp_path)


def test_the_pages_take_an_observer_through_and_nothing_else_is_answered(study):
    with TestClient(create_study_app(study), base_url="http://localhost") as client:
        assert "5 pairs of pictures" in client.get("/").text
        where = client.post("/study", follow_redirects=False).headers["location"]
        for place in range(5):
            page = client.get(where).text
            assert f"Pair {place + 1} of 5" in page
            assert client.get(f"{where}/{place}/left.png").status_code == 200
            assert client.get(f"{where}/{place + 1}/left.png").status_code == 404
            assert "shown already" in client.get(where).text  # a reload shows it no second time
            form = {"place": str(place), "said": "different"}
            client.post(where, data=form)
            client.post(where, data=form)
        assert "Thank you" in client.get(where).text
        assert set(study.counts.values()) == {(1, 1)}
        assert client.post(where, data={"place": "5", "said": "perhaps"}).status_code == 422
        assert client.get("/study/nobody").status_code == 404
        assert client.get("/api/v1/about").status_code == 404
        assert client.get("/attack").status_code == 404


def test_a_token_guards_the_study(study):
    with TestClient(create_study_app(study, token="a token of some length")) as client:
        assert client.get("/").status_code == 401


@pytest.fixture
def served(study):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_study_app(study), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


@needs_chromium
@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_in_a_browser_pictures_go_after_five_seconds(browser, served, study, shots, script):  # noqa: F811
    context = browser.new_context(base_url=served, java_script_enabled=script)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("/")
    page.screenshot(path=shots / f"study-begin-{script}.png")
    before = time.monotonic()
    page.click("text=Begin")
    picture = page.locator(".study img").first
    picture.wait_for(state="visible")
    page.screenshot(path=shots / f"study-pair-{script}.png")
    picture.wait_for(state="hidden")
    assert time.monotonic() - before > SHOWN_SECONDS - 0.5  # not before its time
    page.screenshot(path=shots / f"study-gone-{script}.png")
    for _ in study.pairs:
        page.click("text=Different")
        page.wait_for_load_state()
    assert page.inner_text("h1") == "Thank you"
    assert set(study.counts.values()) == {(1, 1)}
    context.close()
