"""How far an attack on the embedding moves a metric, and Proposition 1."""

import dataclasses

import pytest
import torch
from tests.evaluation.twoafc_images import picture, triplets

from percert import create_metric
from percert.certify import distance
from percert.evaluation import stability
from percert.evaluation.stability import (
    COLUMNS,
    StabilityRun,
    distance_figure,
    evaluate_stability,
    summarise_stability,
)
from percert.evaluation.twoafc.attacks import AttackBudget, plan_attacks
from percert.evaluation.twoafc.evaluate import TwoAFCRun, evaluate_twoafc
from percert.evaluation.twoafc.lipschitz_violations import (
    count_violations,
    moved_references,
    proposition_section,
    violation_figure,
    violations_table,
)
from percert.images import save_image
from percert.runs.certified import BrokenCertificate
from percert.runs.items import ImageItem


@pytest.fixture
def paths(tmp_path):
    found = []
    for i in range(3):
        path = tmp_path / f"p{i}.png"
        save_image(picture(i, 16 if i else 20), path)
        found.append(ImageItem(path.name, path))
    return found


def rows_of(run, paths):
    return [row for step in evaluate_stability(run, paths) for row in step.rows]


def test_a_linear_embedding_goes_as_far_as_its_certificate_allows(paths):
    """Of the angle, which is what the certificate bounds: exact where c = 0, nothing is clipped."""
    metric = create_metric("thumbnail", device="cpu")
    run = StabilityRun(
        {"thumbnail": metric}, (AttackBudget("l2", 0.3),), climbs="distance", steps=30
    )
    rows = rows_of(run, paths)
    assert len(rows) == 3
    for row in rows:
        assert row.keys() == COLUMNS.keys()
        assert row["l2"] <= 0.3 * (1 + 1e-5)
        assert row["distance"] <= row["upper"] <= 1.25 * row["distance"]
        assert not row["violates"]


def test_the_attack_on_the_embedding_is_that_of_the_paper(paths):
    """For a linear embedding every direction of greatest stretch gives the same length."""
    metric = create_metric("thumbnail", device="cpu")
    (row, *_) = rows_of(
        StabilityRun({"m": metric}, (AttackBudget("l2", 0.5),), steps=20), paths[1:2]
    )
    assert row["l2"] == pytest.approx(0.5, rel=1e-4)
    assert 0 < row["distance"] <= row["upper"]
    (less, *_) = rows_of(
        StabilityRun({"m": metric}, (AttackBudget("linf", 0.01),), steps=5), paths[1:2]
    )
    assert less["linf"] <= 0.01 * (1 + 1e-5)


def test_a_steep_metric_violates_the_proposition(paths):
    class Steep(torch.nn.Module):
        def forward(self, reference, candidate):
            return 3 * (reference - candidate).flatten(1).norm(dim=1)

    run = StabilityRun(
        {"steep": Steep()}, (AttackBudget("l2", 0.2), AttackBudget("l2", 0.4)), steps=3
    )
    rows = rows_of(run, paths)
    counts = count_violations(rows)
    assert [(found.images, found.violations) for found in counts] == [(3, 3), (3, 3)]
    assert counts[0].steepest == pytest.approx(3, rel=1e-4)
    assert [found.bound_reached for found in summarise_stability(rows)] == [None, None]
    assert violation_figure(rows).startswith(b"\x89PNG")
    assert distance_figure(rows).startswith(b"\x89PNG")


@pytest.mark.parametrize("perturbed", ["reference", "all", "candidates"])
def test_attacked_triplets_are_held_to_the_proposition_too(perturbed):
    """d(x, x + delta) is three times the length of delta, and no other difference is longer."""

    class Steep(torch.nn.Module):
        def forward(self, reference, candidate):
            return 3 * (reference - candidate).flatten(1).norm(dim=1)

    some, load = triplets(2)
    plan = plan_attacks(["pgd:steps=3", "apgd-ce:steps=3"], l2=(0.1, 0.2), perturbed=perturbed)
    run = TwoAFCRun(Steep(), plan, perturbed=perturbed, load=load)
    rows = [row for step in evaluate_twoafc(run, some) for row in step.rows]
    moved = moved_references(rows, "steep", perturbed)
    counts = count_violations(moved)
    section = proposition_section(moved)
    if perturbed == "candidates":  # the reference stays
        assert counts == []
        assert section is None
        return
    assert [(found.eps, found.images, found.violations) for found in counts] == [
        (0.1, 2, 2),
        (0.2, 2, 2),
    ]
    assert [found.steepest for found in counts] == pytest.approx([3, 3], rel=1e-3)
    assert "4 of 4 violate it" in section.blocks[0].text


def test_of_several_changes_the_steepest_counts():
    """By hand: the candidates' distances change by 0.5 and 0.1, the image is taken 0.2 away."""
    clean = {"image": "a", "attack": "none", "attacked": False, "distance_moved": None}
    clean |= {"distance_left": 1.0, "distance_right": 2.0, "norm": None, "eps": None, "l2": None}
    fab = {**clean, "attack": "fab", "attacked": True, "norm": "l2", "l2": 0.4}
    fab |= {"distance_left": 1.5, "distance_right": 1.9, "distance_moved": 0.2}
    still = {**fab, "attack": "pgd", "l2": 0.0, "distance_left": 1.0, "distance_moved": 0.0}
    (found,) = count_violations(moved_references([clean, fab, still], "m"))
    assert (found.eps, found.images, found.violations) == (None, 1, 1)
    assert found.steepest == pytest.approx(1.25)
    (found,) = count_violations(moved_references([clean, fab, still], "m", "all"))
    assert (found.violations, found.steepest) == (0, pytest.approx(0.5))
    assert violations_table([found]).rows[0][1] == "l2 least"


def test_a_distance_beyond_its_certificate_stops_the_run(paths, monkeypatch):
    def boastful(*given, **more):
        interval = distance.__globals__["distance_of_features"](*given, **more)
        return dataclasses.replace(interval, upper=0.5 * interval.upper)

    monkeypatch.setattr(stability, "distance_of_features", boastful)
    metric = create_metric("thumbnail", device="cpu")
    run = StabilityRun({"m": metric}, (AttackBudget("l2", 0.3),), climbs="distance", steps=30)
    with pytest.raises(BrokenCertificate, match=r"image p1\.png: within l2 = 0\.[23]"):
        rows_of(run, paths[1:2])


def test_it_goes_on_where_it_stood_and_tells_bad_files(paths, tmp_path):
    metric = create_metric("thumbnail", device="cpu")
    run = StabilityRun({"m": metric}, (AttackBudget("l2", 0.1),), steps=2)
    whole = rows_of(run, paths)
    done = frozenset((row["image"], row["attack"]) for row in whole[:2])
    bad = ImageItem("bad.png", tmp_path / "bad.png")
    steps = list(evaluate_stability(run, [*paths, bad], done))
    assert [step.bad for step in steps if step.bad] == ["bad.png"]
    (rest,) = (row for step in steps for row in step.rows)
    assert rest["distance"] == pytest.approx(whole[2]["distance"], rel=1e-5)
