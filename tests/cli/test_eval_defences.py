"""``percert eval defences`` and ``percert eval transfer``, on pictures whose fate is known."""

import pytest
from tests.evaluation.attack_world import NAMES, grey, lit, originals, write_attacks

pytest.importorskip("pyarrow", reason="needs the extra 'report'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")

WORLD = "tests.evaluation.attack_world"


@pytest.fixture
def runs(tmp_path):
    """The same attack at two confidences; what is sure of itself survives a single bit."""
    images = originals(tmp_path / "images")
    weak = {"pgd": dict.fromkeys(NAMES, lit(92, 6, 200))}
    strong = {"pgd": dict.fromkeys(NAMES, grey(150))}
    return (
        write_attacks(tmp_path / "a0", images, weak),
        write_attacks(tmp_path / "a5", images, strong, confidence=5.0),
    )


def test_survival_and_the_frontier(runs, tmp_path, percert_json):
    answer = percert_json(
        *("eval", "defences", *runs, "--model", f"{WORLD}:bright", "--defence", "bits-1"),
        *("--metrics", "l2,gmsd", "--out", tmp_path / "out"),
    )
    shares = {entry["attack"]: entry["share"] for entry in answer["survival"]}
    assert shares == {"(clean)": 0.0, "pgd": 0.0, "pgd (a = 5)": 1.0}
    assert set(answer["frontier"]) == {"l2", "gmsd"}
    points = {point["attack"]: point for point in answer["frontier"]["l2"]}
    assert {p["family"] for p in points.values()} == {"pgd"}
    assert points["pgd (a = 5)"]["confidence"] == 5.0
    # Even the weak attack changes more than the sure one in l2: nothing of it is on the frontier.
    assert points["pgd"]["least"] == "pgd (a = 5)"
    assert points["pgd"]["cost"] > points["pgd"]["least_cost"]


def test_the_report_of_defences(runs, tmp_path, percert):
    out = tmp_path / "out"
    said = percert(
        "eval", "defences", *runs, "--model", f"{WORLD}:bright", "--out", out,
        *("--defence", "bits-1", "--defence", "jpeg-75"),
    )  # fmt: skip
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["pgd", "(a", "=", "5)", "4", "1.00", "1.00"] in lines
    page = (out / "report.html").read_text()
    assert "Cost at equal survival: 1-SSIM" in page
    assert page.count("data:image/png;base64,") == 2
    assert (out / "survival.png").exists()
    assert (out / "frontier-ssim.png").exists()
    again = percert(
        "eval", "defences", *runs, "--model", f"{WORLD}:dark", "--out", out, exit_code=1
    )
    assert "holds a run with model" in again.stderr


def test_a_defence_that_is_not_known_is_said(runs, tmp_path, percert):
    said = percert(
        "eval", "defences", *runs, "--model", f"{WORLD}:bright", "--out", tmp_path / "out",
        *("--defence", "prayer"), exit_code=1,
    )  # fmt: skip
    assert "defence 'prayer': not known" in said.stderr


def test_runs_on_metrics_have_no_defences(tmp_path, percert):
    images = originals(tmp_path / "images")
    run = write_attacks(tmp_path / "run", images, {"pgd": {"a.png": grey(150)}}, goal="triplet")
    said = percert(
        "eval", "defences", run, "--model", f"{WORLD}:bright", "--out", tmp_path / "o", exit_code=1
    )
    assert "expected attacks on a classifier, found on triplets" in said.stderr


def test_a_matrix_of_transfer(runs, tmp_path, percert_json, percert):
    models = ("--model", f"{WORLD}:bright", "--model", f"{WORLD}:dark")
    out = tmp_path / "out"
    answer = percert_json("eval", "transfer", *runs, *models, "--out", out)
    assert answer["accuracy"] == {f"{WORLD}:bright": 1.0, f"{WORLD}:dark": 0.0}
    found = {(e["attack"], e["model"].rpartition(":")[2]): e["share"] for e in answer["transfer"]}
    assert found == {
        ("pgd", "bright"): 1.0,
        ("pgd", "dark"): None,
        ("pgd (a = 5)", "bright"): 1.0,
        ("pgd (a = 5)", "dark"): None,
    }
    assert "data:image/png" in (out / "report.html").read_text()
    said = percert("eval", "transfer", *runs, *models, "--out", out)
    assert "dark has none of the 4 originals right" in said.stderr
    assert "1.00 of 4" in said.stdout
