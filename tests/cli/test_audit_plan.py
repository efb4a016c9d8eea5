"""``percert audit plan``, and ``--margin`` of ``percert audit groups``."""

import numpy as np
import pandas as pd
import pytest

from percert.fairness.equivalence import pairs_p_value
from percert.fairness.planning import images_for_gap, images_for_margin

PLAN = ("audit", "plan", "--groups", "12", "--rate", "0.9")


def test_the_plan_says_how_many_images(percert, percert_json):
    found = percert_json(*PLAN, "--gap", "0.08", "--margin", "0.05")
    images = [need["images"] for need in found["needs"]]
    assert images[0] == images_for_gap(12, 0.9, 0.08)
    assert images[2] == images_for_margin(12, 0.9, 0.05)
    said = percert(*PLAN, "--gap", "0.08").stdout
    assert f"{images[0]:,}" in said
    assert f"{12 * images[0]:,}" in said
    said = " ".join(percert(*PLAN, "--spread", "0.1").stdout.split())
    assert "none is enough" in said
    assert "it takes at least" in said


def test_impossible_plans_are_one_line(percert):
    (line,) = percert(*PLAN, "--gap", "0.6", exit_code=1).stderr.splitlines()
    assert "can differ by 0.2 at most" in line
    percert("audit", "plan", "--rate", "0.9", exit_code=2)


@pytest.fixture
def even(tmp_path):
    """Three groups that are all right on 90 to 91 % of 1000 images."""
    right = [np.arange(1000) < share for share in (900, 905, 910)]
    pd.DataFrame(
        {
            "image": range(3000),
            "group": np.repeat(["AA", "BB", "CC"], 1000),
            "correct": np.concatenate(right).astype(int),
        }
    ).to_csv(tmp_path / "even.csv", index=False)
    return ("audit", "groups", tmp_path / "even.csv", "--draws", "0")


def test_groups_are_fair_within_a_margin_or_not_shown_to_be(even, percert, percert_json, tmp_path):
    (entry,) = percert_json(*even, "--margin", "0.05")["details"]["resolutions"]
    expected = pairs_p_value(np.array([0.9, 0.905, 0.91]), np.full(3, 1000.0), 0.05)
    assert entry["test"]["p_value"] == pytest.approx(expected)
    assert entry["test"]["p_value"] < 0.05
    said = " ".join(percert(*even, "--margin", "0.05", "--out", tmp_path / "out").stdout.split())
    assert "fair within 0.05: no two groups differ in accuracy by 0.05" in said
    assert "fair within 0.05" in (tmp_path / "out" / "report.html").read_text()
    said = " ".join(percert(*even, "--margin", "0.02").stdout.split())
    assert "not shown to be fair within 0.02" in said
    (line,) = percert(*even, "--margin", "2", exit_code=1).stderr.splitlines()
    assert "margin: expected a difference" in line


def test_lines_of_several_attributes_are_adjusted(even, percert_json, tmp_path):
    path = tmp_path / "attributes.csv"
    pd.DataFrame({"group": ["AA", "BB", "CC"], "a": [1, 2, 3.5], "b": [2, 1, 4]}).to_csv(
        path, index=False
    )
    words = ("--attributes", path, "--attribute", "a", "--attribute", "b", "--margin", "0.1")
    found = percert_json(*even, *words)["details"]["resolutions"]
    assert [entry["attribute"] for entry in found] == [None, "a", "b"]
    raw = [entry["test"]["p_value"] for entry in found[1:]]
    adjusted = [entry["test"]["p_adjusted"] for entry in found[1:]]
    assert min(adjusted) == pytest.approx(min(1, 2 * min(raw)))
    assert found[0]["test"]["p_adjusted"] == found[0]["test"]["p_value"]
