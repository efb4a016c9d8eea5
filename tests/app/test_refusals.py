"""What the server does not do, and that it is well afterwards."""

import asyncio
import io
import struct
import time
import zlib

import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from tests.app.conftest import png

from percert.app import api, pages
from percert.app.images import shown_name
from percert.app.middleware import BodyLimit
from percert.app.resources import Limits

COMPARE = "/api/v1/compare"
TOKEN = "correct-horse-battery"


def compare(client, reference, candidate=None, **more):
    files = {"reference": ("a.png", reference), "candidate": ("b.png", candidate or png())}
    return client.post(COMPARE, files=files, data={"metric": "thumbnail"}, **more)


def bomb(side=60_000) -> bytes:
    """A PNG of a few bytes that declares 3.6 gigapixels."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9))


def animated() -> bytes:
    held = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(held, "PNG", save_all=True, append_images=frames[1:])
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"GIF89a" + bytes(50), "a GIF file, but only JPEG"),
        (b"<svg onload='alert(1)'/>", "an SVG file, but only"),
        (b"\x80\x04\x95.pickle.", "not an image of an accepted format"),
        (b"PK\x03\x04" + bytes(60), "not an image of an accepted format"),
        (png()[:200], "damaged or truncated"),
        (bomb(), "exceeds limit of 178956970 pixels"),
        (animated(), "only single images are accepted"),
    ],
    ids=["empty", "gif", "svg", "pickle", "zip", "cut off", "bomb", "animated"],
)
def test_what_is_no_image_is_refused_with_the_reason(client, content, reason):
    answer = compare(client, content)
    assert answer.status_code == 422
    assert answer.json()["reason"].startswith("a.png: ")
    assert reason in answer.json()["reason"]
    assert compare(client, png()).status_code == 200


def test_an_image_of_too_many_pixels_is_refused(serve):
    client = serve(limits=Limits(pixels=24 * 32 - 1))
    answer = compare(client, png())
    assert answer.status_code == 422
    assert "more than max_pixels = 767" in answer.json()["reason"]


def test_too_large_a_request_is_refused_whether_or_not_it_says_so(serve):
    client = serve(limits=Limits(upload_bytes=20_000))
    announced = compare(client, bytes(30_000))
    assert announced.status_code == 413
    assert "limit of this server" in announced.json()["reason"]

    def piecemeal():
        boundary = b"--x\r\nContent-Disposition: form-data; name=reference; filename=a\r\n\r\n"
        yield boundary
        for _ in range(30):
            yield bytes(1000)
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    unannounced = client.post(COMPARE, content=piecemeal(), headers=kind)
    assert unannounced.status_code == 413
    assert compare(client, png()).status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(serve):
    async def trickle(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def talk():
        async def receive():
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        limits = Limits(receive_seconds=0.1)
        scope = {"type": "http", "headers": [], "path": COMPARE, "method": "POST"}
        await BodyLimit(trickle, limits)(scope, receive, None)

    with pytest.raises(Exception, match=r"did not arrive within 0\.1 seconds") as refused:
        asyncio.run(talk())
    assert refused.value.status_code == 408


def test_requests_together_hold_no_more_than_a_few(serve):
    """What has arrived of them counts until each is answered."""
    limits = Limits(upload_bytes=1000, held_uploads=2, stall_seconds=0.3)

    async def swallow(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def talk():
        limited, ends = BodyLimit(swallow, limits), []
        scope = {"type": "http", "headers": [], "path": COMPARE, "method": "POST"}

        async def stalled(parts):
            async def receive():
                if not parts:
                    await asyncio.sleep(60)
                return {"type": "http.request", "body": parts.pop(), "more_body": True}

            try:
                await limited(scope, receive, None)
            except HTTPException as refused:
                ends.append((refused.status_code, refused.detail))

        await asyncio.gather(*(stalled([bytes(900)]) for _ in range(3)))
        assert limited._held == 0
        return sorted(ends)

    late = (408, "Nothing of the request arrived for 0.3 seconds.")
    assert asyncio.run(talk()) == [
        late,
        late,
        (429, "Too much is being sent to this server at once: try again later."),
    ]


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/health", "/api/v1/about", "/static/app.css", "/nothing", "/login"]
)
def test_head_is_answered_like_get_without_the_body(client, path):
    asked, told = client.head(path), client.get(path)
    assert (asked.status_code, asked.content) == (told.status_code, b"")
    assert asked.headers.get("content-type") == told.headers.get("content-type")


def test_a_fault_is_answered_in_the_form_of_a_refusal(client, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("somewhere")

    monkeypatch.setattr(pages, "render", broken)
    monkeypatch.setattr(api, "describe", broken)
    answer = client.get("/api/v1/about")
    assert (answer.status_code, set(answer.json())) == (500, {"reason"})
    shown = client.get("/login", headers={"Accept": "text/html"})
    assert (shown.status_code, "<html" in shown.text) == (500, True)
    for one in (answer, shown):
        assert "fault of percert" in one.text
        assert "somewhere" not in one.text
        assert "Content-Security-Policy" in one.headers
    assert "ZeroDivisionError" in caplog.text


def test_guessing_a_token_is_slow_wherever_it_is_tried(serve):
    client = serve(token=TOKEN)
    for ask in (
        lambda: client.post("/login", data={"token": "wrong"}),
        lambda: client.get("/api/v1/health", headers={"Authorization": "Bearer wrong"}),
        lambda: client.get("/", headers={"Authorization": "Bearer wrong"}),
    ):
        began = time.monotonic()
        assert ask().status_code == 401
        assert time.monotonic() - began >= 1
    right = {"Authorization": f"Bearer {TOKEN}"}
    took = []
    for _ in range(5):  # the shortest: a busy machine may take long
        began = time.monotonic()
        assert client.get("/api/v1/health", headers=right).status_code == 200
        took.append(time.monotonic() - began)
    assert min(took) < 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'{"reference": "/etc/passwd"}'),
        ("application/x-python-serialize", b"\x80\x04."),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/x-www-form-urlencoded", b"reference=a&candidate=b"),
    ],
)
def test_another_kind_of_body_is_refused(client, kind, body):
    answer = client.post(COMPARE, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    assert answer.json()["reason"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/api/v1/jobs/../../etc/passwd",
        "/api/v1/jobs/x/pictures/..%2f..%2fpasswd",
        "/nothing",
    ],
)
def test_paths_lead_nowhere_else(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert "create_app" not in answer.text


@pytest.mark.parametrize(
    "name", ["../../../tmp/evil.png", "/etc/passwd", "a\x00b.png", "C:\\x\\y.png", "." * 300]
)
def test_a_clients_file_name_is_only_ever_shown(serve, name):
    client = serve()
    files = {"reference": (name, png()), "candidate": ("b.png", png(seed=1))}
    answer = client.post(COMPARE, files=files, data={"metric": "thumbnail"})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert "/" not in answer.json()["reference"]
        assert answer.json()["reference"].isprintable()
    assert list(client.folder.rglob("*")) == []


def test_a_name_keeps_its_last_part_and_its_length():
    assert shown_name("a" * 300, "image") == "a" * 59 + "…"
    assert shown_name(None, "image") == "image"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
def test_posts_of_other_sites_are_refused(client, headers):
    answer = compare(client, png(), headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["reason"]
    assert client.delete("/api/v1/jobs/x", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none", "Origin": "null"},
    ],
)
def test_posts_of_the_page_itself_and_of_programs_are_answered(client, headers):
    assert compare(client, png(), headers=headers).status_code == 200


def test_a_name_that_was_pointed_here_is_refused(serve):
    client = serve(base_url="http://evil.example")
    assert client.get("/").status_code == 403
    assert client.get("/api/v1/about").status_code == 403


def test_with_a_token_nothing_is_told_without_it(serve):
    client = serve(token=TOKEN, base_url="http://percert.example")
    for path in ("/", "/judge", "/api/v1/about", "/api/v1/openapi.json", "/api/v1/jobs/x"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert compare(client, png()).status_code == 401
    for wrong in ("Bearer wrong", "Basic " + TOKEN, TOKEN, "Bearer "):
        assert client.get("/api/v1/about", headers={"Authorization": wrong}).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/v1/health", headers=right).status_code == 200
    assert compare(client, png(), headers=right).status_code == 200


def test_the_login_leaves_a_cookie_that_does_not_hold_the_token(serve):
    client = serve(token=TOKEN, base_url="http://percert.example")
    wrong = client.post("/login", data={"token": "wrong"}, follow_redirects=False)
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = client.post("/login", data={"token": TOKEN}, follow_redirects=False)
    assert right.status_code == 303
    cookie = right.headers["set-cookie"].lower()
    assert TOKEN not in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    client.cookies.clear()
    client.cookies.set("percert", "0" * 64)
    assert client.get("/").status_code == 401


def test_a_short_token_is_refused(serve):
    with pytest.raises(ValueError, match=r"^token: expected at least 12 characters, found 5"):
        serve(token="short")


@pytest.mark.parametrize("path", ["/", "/api/v1/about", "/nothing", "/static/app.css", "/login"])
def test_every_answer_tells_the_browser_to_run_nothing_of_others(client, path):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_without_the_page_the_interface_is_left(serve):
    client = serve(api_only=True)
    assert client.get("/").status_code == 404
    assert client.get("/static/app.css").status_code == 404
    assert client.get("/api/v1/health").status_code == 200
