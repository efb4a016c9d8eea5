"""Writers that are killed at random moments, and several at once: nothing is lost or doubled."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from percert.images import save_image
from percert.search import open_store
from percert.search.tables.files import find_missing

from .conftest import smooth_image

COUNT = 60
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def many(tmp_path):
    """Sixty images, and two of them again under other names."""
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(COUNT):
        save_image(smooth_image(seed), folder / f"{seed:02}.png")
    for seed in (0, 30):
        shutil.copy(folder / f"{seed:02}.png", folder / f"{seed:02} again.png")
    return folder


@pytest.fixture
def start(tmp_path, many):
    """Starts a process that adds the folder, and ends it with the test."""
    running = []

    def go(commit_images):
        script = Path(__file__).with_name("adding.py")
        command = [sys.executable, script, tmp_path / "store", many, str(commit_images)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
        running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        )
        return running[-1]

    yield go
    for process in running:
        process.kill()
        process.wait()


def acknowledged(line):
    """(id, path) of a whole line; a line that was cut off has acknowledged nothing."""
    what, id, path = line.rstrip("\n").split(" ", 2)
    assert what in ("added", "moved", "duplicate", "unchanged")
    return id, path


def check(tmp_path, metric, lines):
    store = open_store(tmp_path / "store", metric)
    assert store.verify().problems == []
    table = store.rows(["id", "paths"])
    held = {
        (id, path) for id, paths in zip(*table.to_pydict().values(), strict=True) for path in paths
    }
    assert {acknowledged(line) for line in lines if line.endswith("\n")} <= held
    return store


def test_writers_killed_at_work_lose_and_double_nothing(tmp_path, metric, many, start):
    """Three at once on the same files, each killed at a random moment after its first image."""
    chance = random.Random(0)
    writers = [start(1) for _ in range(3)]
    lines = []
    for writer in writers:
        lines.append(writer.stdout.readline())
        time.sleep(chance.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    assert all(lines[:1])
    store = check(tmp_path, metric, lines)
    assert 0 < store.count <= COUNT
    before = store.count
    told = Counter(one.what for one in store.add_files([many]))
    assert told["bad"] == 0
    assert told["added"] == COUNT - before
    store = check(tmp_path, metric, lines)
    assert store.count == COUNT
    assert store.verify().files == COUNT + 2


def test_writers_killed_while_files_move_lose_nothing(tmp_path, metric, many, start):
    """Every image keeps a file: its old one until the new one is stored, in one commit."""
    open_store(tmp_path / "store", metric).add_files([many])
    for path in list(many.iterdir()):
        path.rename(path.with_name(f"moved {path.name}"))
    chance = random.Random(1)
    lines = []
    for _ in range(2):
        writer = start(1)
        lines.append(writer.stdout.readline())
        time.sleep(chance.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        store = check(tmp_path, metric, lines)
        verdict = store.verify()
        assert (verdict.images, verdict.without_file) == (COUNT, 0)
    assert Counter(one.what for one in store.add_files([many]))["added"] == 0
    store = check(tmp_path, metric, lines)
    assert find_missing(store.tables).gone == []
    assert (store.count, store.verify().files) == (COUNT, COUNT + 2)


def test_two_writers_at_once_store_every_image_once(tmp_path, metric, many, start):
    writers = [start(3), start(4)]
    lines = [line for writer in writers for line in writer.communicate()[0].splitlines(True)]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(lines) == 2 * (COUNT + 2)
    store = check(tmp_path, metric, lines)
    assert store.count == COUNT
    assert store.verify().files == COUNT + 2
