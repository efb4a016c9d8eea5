"""Asking Flickr: its answers, its errors, slowness, and how often it is asked."""

import time

import pytest
from tests.fairness.flickr_server import GONE, KEY, NO_LOCATION, FlickrServer, failed, located
from tests.waiting import PATIENCE

from percert.fairness.geo.flickr import (
    KEY_VARIABLE,
    Answer,
    FlickrSettings,
    Unanswered,
    ask_locations,
    photo_id,
)

PARIS = located("1", 48.85, 2.35)
BLINK = {"sleep": lambda seconds: None}


def ask(server, photos, key=KEY, waits=None, **options):
    settings = FlickrSettings(
        **{"endpoint": server.endpoint, "rate": 1000, "retries": 2, "timeout": PATIENCE} | options
    )
    waits = [] if waits is None else waits
    return list(ask_locations(photos, key, settings, sleep=waits.append))


@pytest.mark.parametrize(
    ("address", "photo"),
    [
        ("http://farm4.static.flickr.com/3175/2737866473_7958dc8760.jpg", "2737866473"),
        ("http://static.flickr.com/52/111_0a1b2c.jpg", "111"),
        ("http://photos12.flickr.com/16_abc.jpg", "16"),
        ("https://live.staticflickr.com/65535/53_0123456789_b.jpg", "53"),
        ("https://c2.staticflickr.com/4/3/54_0123456789_o.png?zz=1", "54"),
        ("https://www.flickr.com/photos/12@N03/99/", "99"),
        ("https://flickr.com/photos/name/99/in/album-1", "99"),
        ("https://flic.kr/p/2", "1"),
        ("https://flic.kr/p/0", None),
        ("https://www.flickr.com/photos/name/", None),
        ("http://notflickr.com/1/2_a.jpg", None),
        ("http://flickr.com.evil.org/1/2_a.jpg", None),
        ("http://static.flickr.com/52/logo.jpg", None),
        ("http://[bad", None),
        ("", None),
    ],
)
def test_the_photo_of_an_address(address, photo):
    assert photo_id(address) == photo


def test_the_three_answers_there_are():
    said = {"1": PARIS, "2": NO_LOCATION, "3": GONE, "4": failed("2", "as text")}
    with FlickrServer(said) as server:
        assert ask(server, "1234") == [
            Answer("1", "located", 48.85, 2.35, 16),
            Answer("2", "no-location"),
            Answer("3", "gone"),
            Answer("4", "no-location"),
        ]
        assert server.problems == []


@pytest.mark.parametrize(
    "trouble",
    [
        503,
        500,
        429,
        (429, {"Retry-After": "3"}),
        "slow",
        b"<html>",
        b"[]",
        b"\xff",
        failed(105, "Service currently unavailable"),
        {"stat": "ok", "photo": {"location": {}}},
        located("1", 95, 0),
        located("1", "nan", 0),
        located("1", "x", 0),
    ],
    ids=str,
)
def test_trouble_that_passes_is_asked_again(trouble):
    with FlickrServer({"1": [trouble, PARIS]}) as server:
        timeout = 2.0 if trouble == "slow" else PATIENCE
        assert ask(server, "1", timeout=timeout) == [Answer("1", "located", 48.85, 2.35, 16)]
        assert server.asked["1"] == 2


def test_the_waits_grow_and_heed_what_flickr_asks_for():
    waits = []
    trouble = [503, 503, (429, {"Retry-After": "60"}), PARIS]
    with FlickrServer({"1": trouble}) as server:
        ask(server, "1", waits=waits, retries=3, backoff=2.0)
    assert [wait for wait in waits if wait > 0.5] == [2.0, 4.0, 60.0]


def test_a_photo_that_stays_unanswered_does_not_stop_the_others():
    with FlickrServer({"1": 500, "2": PARIS}) as server:
        found = ask(server, "12")
    assert found == [Unanswered("1", "HTTP 500"), Answer("2", "located", 48.85, 2.35, 16)]
    assert server.asked["1"] == 3


def test_three_in_a_row_stop_the_run():
    found = []
    with FlickrServer(dict.fromkeys("2345", 503)) as server:
        settings = FlickrSettings(endpoint=server.endpoint, rate=1000, retries=1)
        with pytest.raises(ValueError, match=r"3 photos in a row, each asked 2 times \(HTTP 503\)"):
            found.extend(ask_locations("12345", KEY, settings, **BLINK))
        assert server.asked == {"1": 1, "2": 2, "3": 2, "4": 2}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (failed(112, "Method not found"), "code 112: Method not found"),
        (403, "HTTP 403"),
        (302, "HTTP 302"),
        ((429, {"Retry-After": "4000"}), "wait 4000 s"),
    ],
    ids=str,
)
def test_what_will_not_pass_stops_the_run_at_once(said, message):
    with FlickrServer({"1": said}) as server, pytest.raises(ValueError, match=message):
        ask(server, "1")
    assert server.asked["1"] == 1


def test_no_connection_is_said():
    with FlickrServer() as server:
        pass
    (found,) = ask(server, "1", retries=0)
    assert found.reason.startswith("no connection")


def test_the_key_is_never_shown():
    with FlickrServer() as server, pytest.raises(ValueError, match="does not accept") as caught:
        ask(server, "1", key="secret-key")
    # The server repeats the key in its message, as some do.
    assert "(key)" in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert KEY_VARIABLE in str(caught.value)
    with pytest.raises(ValueError, match=KEY_VARIABLE):
        ask(server, "1", key=" ")


def test_the_rate_is_kept():
    with FlickrServer() as server:
        settings = FlickrSettings(endpoint=server.endpoint, rate=20)
        list(ask_locations("12345", KEY, settings, sleep=time.sleep))
    gaps = [later - sooner for sooner, later in zip(server.times, server.times[1:], strict=False)]
    # Arrivals wobble where starts do not: the mean of four gaps cannot fall far below 1 / 20 s.
    assert sum(gaps) / len(gaps) > 0.035


def test_the_pace_by_a_clock_of_its_own():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    with FlickrServer({"2": [503, GONE]}) as server:
        settings = FlickrSettings(endpoint=server.endpoint, rate=0.5, backoff=0.1)
        list(ask_locations("123", KEY, settings, sleep=sleep, clock=lambda: now[0]))
    assert now[0] == pytest.approx(6.0)  # four requests, two seconds apart, retries included


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": "http://api.flickr.com/"}, "https"),
        ({"endpoint": "ftp://x/"}, "https"),
        ({"rate": 0}, "rate"),
        ({"timeout": 0}, "timeout"),
        ({"retries": -1}, "retries"),
    ],
)
def test_settings_are_checked(options, said):
    with pytest.raises(ValueError, match=said):
        FlickrSettings(**options)
