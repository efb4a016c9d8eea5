"""The verb in a process of its own: what it listens to, what it writes, and how it stops."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.app.conftest import png
from tests.waiting import PATIENCE, wait_until

from percert.app.resources import Resources
from percert.app.server import address_of, check_host, serve

TOKEN = "correct-horse-battery"


MODELS = """
import torch
class Model(torch.nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] * 0 + torch.tensor([[1.0, 0.0]])
class Deaf(torch.nn.Module):
    def forward(self, x):
        while True: pass
"""


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def server(home):
    """A running ``percert app`` with endless attacks to give, its address, and its folders."""
    (home / "tmp").mkdir()
    Path(home / "endless.py").write_text(MODELS)
    environment = {
        **os.environ,
        "TMPDIR": str(home / "tmp"),
        "HOME": str(home / "empty"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    (home / "empty").mkdir()
    models = ("--model", "endless:Model", "--model", "endless:Deaf")
    process = subprocess.Popen(
        [sys.executable, "-m", "percert", "app", "--port", "0", "--jobs", "2", *models],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line + process.stderr.read()
        yield process, address.group(0)
    finally:
        process.kill()
        process.communicate()


def start_deaf(address):
    """Two attacks that never look at any clock, under way."""
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        jobs = []
        for _ in range(2):
            form = {"model": "endless:Deaf"}
            files = {"image": ("a.png", png())}
            jobs.append(client.post("/api/v1/attack", files=files, data=form).json()["id"])
        wait_until(
            lambda: all(
                client.get(f"/api/v1/jobs/{job}").json()["state"] == "running" for job in jobs
            )
        )


def below(process):
    """The numbers of all processes below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look into")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_server_with_computations_that_do_not_end(server, home, sent):
    process, address = server
    start_deaf(address)
    workers = below(process.pid)
    assert len(workers) >= 5  # the nursery, two for questions, two for jobs
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(
            b"POST /api/v1/compare HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
        )
        process.send_signal(sent)
        assert process.wait(PATIENCE) == (-sent if sent == signal.SIGKILL else 0)
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in workers))
    if sent != signal.SIGKILL:
        assert list((home / "tmp").iterdir()) == []
        assert "Traceback" not in process.stderr.read()


def test_it_runs_attacks_and_stops_gently_with_an_empty_folder(server, home):
    process, address = server
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        files = {"reference": ("a.png", png()), "candidate": ("b.png", png(seed=1))}
        compared = client.post("/api/v1/compare", files=files, data={"metric": "thumbnail"})
        assert compared.status_code == 200
        large = png(1200, 1200, kind="BMP")  # above the size that stays in memory
        files = {"reference": ("a.bmp", large), "candidate": ("b.png", png(seed=1))}
        assert client.post("/api/v1/compare", files=files).status_code == 200
        form = {"model": "endless:Model", "attack": "ascent:steps=100000"}
        job = client.post("/api/v1/attack", files={"image": ("a.png", png())}, data=form).json()
        assert len(list((home / "tmp").iterdir())) == 1
        with client.stream("GET", f"/api/v1/jobs/{job['id']}/events") as stream:
            lines = stream.iter_lines()
            while "running" not in next(lines):
                pass
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: cancelled"
    assert process.wait(PATIENCE) == 0
    assert list((home / "tmp").iterdir()) == []
    assert list((home / "empty").iterdir()) == []
    assert process.stdout.read() == ""
    assert "Traceback" not in process.stderr.read()


def test_a_taken_port_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: "):
            serve(Resources(), port=port)


def test_only_loopback_needs_no_token():
    for host in ("127.0.0.1", "localhost", "::1"):
        check_host(host, None)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(ValueError, match=f"host {re.escape(host)}: others can reach it"):
            check_host(host, None)
        check_host(host, TOKEN)


def test_the_address_is_one_that_a_browser_takes():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert address_of("localhost", listener) == f"http://localhost:{port}/"
        assert address_of("::1", listener) == f"http://[::1]:{port}/"
