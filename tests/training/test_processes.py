"""Processes of a run that are started here: whichever fails or is killed, none is left waiting."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.waiting import PATIENCE

from percert.training.engine.processes import FAILED, _first_of_many

pytest.importorskip("lightning_fabric")
gloo = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")

#: Two processes; the one named fails or nothing happens, the others wait for it in a collective.
RUN = """
import os, sys, time
from pathlib import Path
from percert.training.engine import Devices, launched

folder, fails = Path(sys.argv[1]), int(sys.argv[2])
try:
    with launched(Devices("cpu", devices=2)) as fabric:
        (folder / f"{fabric.global_rank}.pid").write_text(str(os.getpid()))
        fabric.barrier()
        if fabric.global_rank == fails:
            raise ValueError("a broken\\nimage")
        if fails < 0:
            (folder / f"{fabric.global_rank}.ready").touch()
            time.sleep(600)
        fabric.barrier()
        time.sleep(600)
except ValueError as error:
    sys.exit(f"raised: {error}")
"""
#: The first process alone, and a child that is killed.
CHILD_KILLED = """
import subprocess, sys, time
from percert.training.engine.processes import _first_of_many

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with _first_of_many([child], 2):
    child.kill()
    time.sleep(600)
"""
#: One of the others, whose first process is another than its parent.
ORPHAN = """
import sys, time
from pathlib import Path
from percert.training.engine.processes import _one_of_many

with _one_of_many(Path(sys.argv[1])):
    time.sleep(600)
"""
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in (FAILED, "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
} | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def _start(folder: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    path = folder / "run.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )


def _gone(process: int, seconds: float = PATIENCE) -> bool:
    """Whether a process that is not ours is over by then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{process}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # over, and waiting for whoever adopted it
        time.sleep(0.1)
    return False


@gloo
def test_an_error_in_one_process_ends_the_other_with_its_message(tmp_path: Path) -> None:
    run = _start(tmp_path, RUN, str(tmp_path), "1")
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert "percert: error: process 1: a broken image\n" in said
    assert "raised" not in said
    assert "Traceback" not in said
    assert _gone(int((tmp_path / "1.pid").read_text()))


@gloo
def test_when_the_first_process_is_killed_the_others_end(tmp_path: Path) -> None:
    run = _start(tmp_path, RUN, str(tmp_path), "-1")
    end = time.monotonic() + PATIENCE
    while not all((tmp_path / f"{i}.ready").exists() for i in range(2)):
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=PATIENCE)
    assert _gone(int((tmp_path / "1.pid").read_text()))


def test_when_another_process_is_killed_the_first_says_so_and_ends(tmp_path: Path) -> None:
    run = _start(tmp_path, CHILD_KILLED)
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert said == "percert: error: process 1 was killed (SIGKILL)\n"


def test_a_process_whose_first_was_gone_before_it_began_ends(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    run = _start(tmp_path, ORPHAN, str(tmp_path / "shared" / f"failed-{2**22 + 1}"))
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert not (tmp_path / "shared").exists()


def test_an_error_in_the_first_process_is_raised_there_and_ends_the_others() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    children = [subprocess.Popen(sleep) for _ in range(2)]
    with pytest.raises(ValueError, match="a broken image"), _first_of_many(list(children), 3):
        raise ValueError("a broken image")
    assert [child.wait(timeout=PATIENCE) for child in children] == [-signal.SIGKILL] * 2
    assert FAILED not in os.environ
