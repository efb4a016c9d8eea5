"""``percert audit network``: the report of percert.audit, and a verdict in the exit status."""

import pytest

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.fixed_layers import SubtractMean


def test_a_sound_network_passes(percert, percert_json):
    said = percert("audit", "network", "thumbnail").stdout
    assert "thumbnail-8: PASSED" in said
    assert "SubtractMean" in said
    report = percert_json("audit", "network", "thumbnail-16")
    assert (report["name"], report["passed"], report["reasons"]) == ("thumbnail-16", True, [])
    assert report["hash"] in percert("audit", "network", "thumbnail-16").stdout


def test_a_network_that_claims_too_little_fails(monkeypatch, percert, percert_json):
    bound = LipschitzBound(0.5, "wishful thinking")
    monkeypatch.setattr(SubtractMean, "lipschitz_bound", lambda self: bound)
    result = percert("audit", "network", "thumbnail", exit_code=1)
    assert "thumbnail-8: FAILED" in result.stdout
    assert result.stderr.startswith("percert: audit: ")
    report = percert_json("audit", "network", "thumbnail", exit_code=1)
    assert report["passed"] is False
    assert report["reasons"]


def test_a_file_is_weights_for_the_metric_named(files, percert):
    result = percert(
        "audit", "network", files / "note.txt", "--metric", "lipsim-small", exit_code=1
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith("percert: error: ")
    assert str(files / "note.txt") in line


@pytest.mark.parametrize(
    ("target", "said"),
    [("ssim", "no proven bound"), ("thumbnial", "did you mean 'thumbnail'")],
)
def test_what_cannot_be_audited_is_one_line(percert, target, said):
    (line,) = percert("audit", "network", target, exit_code=1).stderr.splitlines()
    assert said in line


def test_help(percert):
    assert "percert audit network lipsim-tiny" in percert("audit", "network", "-h").stdout
    assert "network" in percert("audit", "--help").stdout
