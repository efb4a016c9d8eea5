"""``percert data geo`` against a server on this machine: tables, counts, and a kill halfway."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.fairness.flickr_server import KEY, NO_LOCATION, FlickrServer, located
from tests.waiting import PATIENCE

GDP = (
    '"Data Source","World Development Indicators",\n\n"Country Name","Country Code",'
    '"Indicator Name","Indicator Code","2021","2022",\n'
    '"Germany","DEU","GDP","NY.GDP.PCAP.CD","50000","48700",\n'
    '"Kenya","KEN","GDP","NY.GDP.PCAP.CD","2000","2100",\n'
)
BERLIN, NAIROBI = (52.52, 13.40), (-1.286, 36.817)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A list of 12 images: 5 of Berlin, 3 of Nairobi, 2 gone, 1 without place, 1 not Flickr's."""
    monkeypatch.setenv("FLICKR_API_KEY", KEY)
    said = {str(n): located(str(n), *BERLIN) for n in range(1, 6)}
    said |= {str(n): located(str(n), *NAIROBI) for n in range(6, 9)}
    said |= {"11": NO_LOCATION}
    address = "http://farm1.static.flickr.com/1/{}_ab.jpg"
    rows = [f"n{n}.JPEG,{address.format(n)}" for n in range(1, 12)]
    (tmp_path / "list.csv").write_text(
        "\n".join(["image,url", *rows, "n12.JPEG,http://example.com/a.jpg"]) + "\n"
    )
    (tmp_path / "gdp.csv").write_text(GDP)
    return tmp_path, said


def options(folder, server, *more):
    return [
        "data", "geo", folder / "list.csv", "--out", folder / "geo", "--gdp", folder / "gdp.csv",
        "--endpoint", server.endpoint, "--rate", "1000", *more,
    ]  # fmt: skip


def everything_in(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_tables_and_counts(inputs, percert_json, percert):
    folder, said = inputs
    with FlickrServer(said) as server:
        found = percert_json(*options(folder, server))
        again = percert(*options(folder, server))
        assert max(server.asked.values()) == 1
        assert server.problems == []
    assert found["images"] == 12
    assert (found["elsewhere"], found["gone"], found["without_location"]) == (1, 2, 1)
    assert (found["placed"], found["countries"], found["asked"]) == (8, 2, 11)
    assert "0 photos were asked for now" in again.stdout
    with (folder / "geo" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["DEU"] * 5 + ["KEN"] * 3
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    with (folder / "geo" / "countries.csv").open() as file:
        germany, kenya = csv.DictReader(file)
    assert (germany["group"], germany["images"], germany["gdp_year"]) == ("DEU", "5", "2022")
    assert float(kenya["log_gdp"]) == pytest.approx(7.6497, abs=1e-4)
    for name in ("images.parquet", "answers.jsonl", "run.json", "images-by-country.png"):
        assert (folder / "geo" / name).stat().st_size > 0
    assert KEY.encode() not in everything_in(folder / "geo")


def test_what_could_not_be_asked_is_said_and_asked_next_time(inputs, percert):
    folder, said = inputs
    with FlickrServer(said | {"3": 500}) as server:
        result = percert(*options(folder, server, "--retries", "0"), exit_code=1)
        assert "1 photos could not be asked for (3: HTTP 500); run again" in result.stderr
        server.answers["3"] = said["3"]
        percert(*options(folder, server))
        assert server.asked["3"] == 2
        assert sum(server.asked.values()) == 12


def test_without_a_key_nothing_is_asked(inputs, percert, monkeypatch):
    folder, said = inputs
    monkeypatch.delenv("FLICKR_API_KEY")
    with FlickrServer(said) as server:
        result = percert(*options(folder, server), exit_code=1)
        assert server.times == []
    (line,) = result.stderr.splitlines()
    assert "FLICKR_API_KEY" in line


def test_a_key_that_is_refused_is_not_shown(inputs, percert, monkeypatch):
    folder, said = inputs
    monkeypatch.setenv("FLICKR_API_KEY", "a-wrong-secret")
    with FlickrServer(said) as server:
        result = percert(*options(folder, server), exit_code=1)
    assert "does not accept the key" in result.stderr
    assert "a-wrong-secret" not in result.stdout + result.stderr
    assert b"a-wrong-secret" not in everything_in(folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process the POSIX way")
def test_a_killed_run_goes_on_where_it_was(inputs, percert_json):
    folder, said = inputs
    journal = folder / "geo" / "answers.jsonl"
    with FlickrServer(said) as server:
        words = [str(word) for word in options(folder, server)]
        words[words.index("1000")] = "20"
        started = subprocess.Popen(
            [sys.executable, "-m", "percert", *words],
            env=os.environ | {"FLICKR_API_KEY": KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience and started.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.01)
        started.kill()
        started.wait()
        kept = [json.loads(line)["photo"] for line in journal.read_text().splitlines()]
        assert 3 <= len(kept) < 11
        found = percert_json(*options(folder, server))
        assert found["placed"] == 8
        assert all(server.asked[photo] == 1 for photo in kept)
        # Only a request that was under way when the run was killed may be made again.
        assert sum(server.asked.values()) <= 12


def test_help(percert):
    assert "FLICKR_API_KEY" in percert("data", "geo", "--help").stdout
