"""What survives a defence: pictures whose fate is known, and the frontier by hand."""

import pytest
from tests.evaluation.attack_world import NAMES, bright, grey, lit, originals, write_attacks

from percert.evaluation.attack_runs.defences import (
    Survival,
    defended_predictions,
    survivals,
    survives,
)
from percert.evaluation.attack_runs.distances import CLEAN
from percert.evaluation.attack_runs.frontier import frontier_points
from percert.evaluation.attack_runs.read import read_attack_runs

#: Brighter than a half in all; behind one bit 6 of 16 rows are white.
WEAK = lit(92, 6, 200)
#: All of it beyond a half.
STRONG = grey(150)


@pytest.fixture
def world(tmp_path):
    images = originals(tmp_path / "images")
    run = write_attacks(
        tmp_path / "run",
        images,
        {
            "human-perc-ot": dict.fromkeys(NAMES, WEAK),
            "human-perc-ot:confidence=5": {**dict.fromkeys(NAMES, STRONG), "d.png": None},
            "pgd": {"a.png": STRONG, "b.png": WEAK, "c.png": None, "d.png": None},
        },
    )
    return images, run


def defended(world, tmp_path, defences=("none", "bits-1")):
    images, run = world
    rows = read_attack_runs([run]).rows
    found = defended_predictions(rows, images, bright(), "w", defences, tmp_path / "out")
    return rows, survivals(rows, found, defences)


def test_what_is_just_beyond_the_border_dies_behind_one_bit(world, tmp_path):
    _, entries = defended(world, tmp_path)
    shares = {(entry.attack, entry.defence): entry.share for entry in entries}
    assert shares == {
        (CLEAN, "none"): 0.0,
        (CLEAN, "bits-1"): 0.0,
        ("human-perc-ot", "none"): 1.0,
        ("human-perc-ot", "bits-1"): 0.0,
        ("human-perc-ot:confidence=5", "none"): 0.75,
        ("human-perc-ot:confidence=5", "bits-1"): 0.75,
        ("pgd", "none"): 0.5,
        ("pgd", "bits-1"): 0.25,
    }


def test_what_a_defence_spoils_by_itself_is_counted_apart(tmp_path):
    """The original is darker than a half, and white in most rows behind one bit."""
    images = originals(tmp_path / "images")
    from percert.images import save_image

    save_image(lit(0, 10, 140), images / "a.png")
    run = write_attacks(tmp_path / "run", images, {"pgd": {"a.png": STRONG}})
    _, entries = defended((images, run), tmp_path)
    assert {(e.attack, e.defence): e.share for e in entries}[CLEAN, "bits-1"] == 1.0


def test_an_attack_towards_a_class_survives_in_that_class_alone():
    row = {"towards": True, "target": 7, "label": 3}
    assert survives(row, 7)
    assert not survives(row, 4)
    assert survives({**row, "towards": False}, 4)
    assert not survives({**row, "towards": False}, 3)


def test_the_frontier_compares_at_equal_survival(world, tmp_path):
    """Costs are 1e-3 for the first attack, 2e-3 for the second, 3e-3 for the third."""
    rows, entries = defended(world, tmp_path, ("bits-1",))
    points = {point.attack: point for point in frontier_points(rows, entries, "ssim")}
    assert {name: p.cost for name, p in points.items()} == pytest.approx(
        {"human-perc-ot": 1e-3, "human-perc-ot:confidence=5": 2e-3, "pgd": 3e-3}
    )
    assert {name: p.least for name, p in points.items()} == {
        "human-perc-ot": "human-perc-ot",
        "human-perc-ot:confidence=5": "human-perc-ot:confidence=5",
        "pgd": "human-perc-ot:confidence=5",  # survives more often, and costs less
    }
    assert {p.family for p in points.values()} == {"human-perc-ot", "pgd"}
    assert points["human-perc-ot:confidence=5"].confidence == 5.0


def test_an_attack_that_never_succeeds_has_no_place_on_the_frontier():
    row = {"attack": "a", "spec": "a", "demand": 0.0, "attacked": True, "success_8bit": False}
    assert frontier_points([{**row, "ssim": None}], [Survival("a", "none", 1, 0, 0)], "ssim") == []
