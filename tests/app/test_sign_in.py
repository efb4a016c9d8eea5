"""Signing in, every form, and signing out in a real browser, with and without scripts."""

import socket
import threading

import pytest
import uvicorn
from tests.app.conftest import png
from tests.app.test_browser import PATIENCE, browser, pytestmark  # noqa: F401  # a fixture, a mark
from tests.app.test_search_and_audit import tables

from percert.app.server import create_app

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded(resources, tmp_path_factory):
    """Where a server listens that asks for a token."""
    app = create_app(resources, tmp_path_factory.mktemp("guarded"), token=TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    predictions, attributes = tables(slope=0.4)
    for name, content in {
        "one.png": png(seed=1),
        "two.png": png(seed=2),
        "grey.png": png(level=90),
        "predictions.csv": predictions.encode(),
        "attributes.csv": attributes.encode(),
    }.items():
        (folder / name).write_bytes(content)
    return folder


FORMS = {
    "/": {"reference": "one.png", "candidate": "two.png"},
    "/judge": {"reference": "one.png", "left": "one.png", "right": "two.png"},
    "/attack": {"image": "grey.png"},
    "/audit": {"predictions": "predictions.csv", "attributes": "attributes.csv"},
}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_everything_works_for_who_has_the_token(browser, guarded, files, scripts):  # noqa: F811
    context = browser.new_context(base_url=guarded, java_script_enabled=scripts)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    refused = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status > 401 else None)
    page.goto("/judge")
    page.fill("#token", "not the token")
    page.click("text=Sign in >> nth=-1")
    page.wait_for_selector("text=That is not the token")
    page.fill("#token", TOKEN)
    page.click("button.main")
    page.wait_for_selector("#left")  # the page that was asked for
    for path, uploads in FORMS.items():
        page.goto(path)
        for name, file in uploads.items():
            page.set_input_files(f"#{name}", files / file)
        page.click("form[data-most] button.main")
        page.wait_for_selector("#answer h2")
    page.click("text=Sign out")
    page.wait_for_selector("#token")
    page.goto("/")
    page.wait_for_selector("#token")
    assert refused == []
    context.close()
