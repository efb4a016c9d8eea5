"""The command as a whole: catalog, help, exit codes, pipes and interruption."""

import json
import os
import signal
import subprocess
import sys

import pytest

import percert as package
from percert.cli.app import main
from percert.cli.command import one_line_errors
from percert.metrics.catalog import CATALOG


def test_metrics_lists_the_catalog(percert, percert_json):
    listed = percert_json("metrics")["metrics"]
    assert [card["name"] for card in listed] == list(CATALOG)
    assert listed[0]["embedding"] is True
    assert "factory" not in listed[0]
    said = percert("metrics").stdout
    assert all(card.name in said and card.summary in said for card in CATALOG.values())


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("verb", ["compare", "judge", "metrics"])
def test_every_verb_has_help_with_an_example(percert, verb, flag):
    said = percert(verb, flag).stdout
    assert "Examples" in said
    assert f"percert {verb}" in said


def test_the_help_lists_the_verbs(percert):
    said = percert("--help").stdout
    assert all(verb in said for verb in ("compare", "judge", "audit", "metrics"))


def test_the_version_is_the_packages(percert):
    assert percert("--version").stdout == f"percert {package.__version__}\n"


def test_an_unknown_verb_is_misuse(percert):
    assert "compair" in percert("compair", exit_code=2).stderr


def test_a_defect_of_percert_keeps_its_traceback():
    @one_line_errors
    def verb():
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        verb()


def test_an_interrupted_command_exits_with_130(monkeypatch, files):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("percert.runs.compare.load_image", interrupted)
    image = str(files / "cat.png")
    monkeypatch.setattr(sys, "argv", ["percert", "compare", image, image])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130


def test_as_a_module_with_stdout_for_the_answer_alone(files):
    command = [sys.executable, "-m", "percert", "compare", str(files / "cat.png")]
    command += [str(files / "inside"), str(files / "bad.png"), "--metric", "thumbnail", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["results"]) == 3
    assert done.stderr.startswith("percert: 1 of 4 candidates could not be compared:")


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise on Windows")
def test_a_reader_that_goes_away_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "percert", "metrics", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (1, 128 + signal.SIGPIPE)
