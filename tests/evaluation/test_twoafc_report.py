"""The tables and curves of a 2AFC evaluation, from rows written by hand."""

import numpy as np
import pytest

from percert.evaluation.twoafc.evaluate import CLEAN, COLUMNS
from percert.evaluation.twoafc.report import (
    attacked_table,
    groups_table,
    least_changes,
    natural_table,
    score_curve,
    score_figure,
)
from percert.evaluation.twoafc.scores import score_twoafc

pytest.importorskip("matplotlib", reason="needs the extra 'report'")

PGD = "pgd:norm=l2,eps=1"


def row(image, attack, **known):
    plain = {"share": 0.0, "label": 0, "clean_prediction": 0, "height": 8, "width": 8}
    return {**dict.fromkeys(COLUMNS), **plain, "image": image, "attack": attack, **known}


def rows():
    """Certified up to 0.5, 2 and 3; the first turned round at 0.8; the third is wrong."""
    clean = {"success": False, "attacked": False, "radius_paper": 0.25}
    of_pgd = {"norm": "l2", "eps": 1.0, "attacked": True, "l2": 0.8, "linf": 0.8, "seconds": 2.0}
    return [
        row("a", CLEAN, radius=0.5, group="imagenet", **clean),
        row("b", CLEAN, radius=2.0, group="other", **clean),
        row("c", CLEAN, radius=3.0, group="other", **{**clean, "clean_prediction": 1}),
        row("a", PGD, success=True, model_calls=4.0, **of_pgd),
        row("b", PGD, success=False, model_calls=8.0, **of_pgd),
    ]


def test_tables_have_the_scores_in_percent():
    scores = score_twoafc(rows(), (0.4, 1.0))
    natural = natural_table(scores)
    assert [heading for heading, _ in natural.columns] == [
        *("triplets", "count", "natural", "certified 0.4", "certified 1"),
        *("paper's 0.4", "paper's 1", "median radius"),
    ]
    assert natural.rows == (
        ("all", "3", "66.67", "66.67", "33.33", "0.00", "0.00", "2"),
        ("imagenet", "1", "100.00", "100.00", "0.00", "0.00", "0.00", "0.5"),
        ("other", "2", "50.00", "50.00", "50.00", "0.00", "0.00", "3"),
    )
    assert attacked_table(scores).rows == (
        *(("natural", "66.67"), ("pgd", "33.33"), ("worst of all", "33.33")),
        ("certified", "33.33"),
    )
    assert groups_table(scores).rows == (("all", "33.33"), ("imagenet", "0.00"), ("other", "50.00"))
    assert score_figure(scores[0], rows(), "reference").startswith(b"\x89PNG")


def test_nothing_attacked_has_no_table():
    clean = [entry for entry in rows() if entry["attack"] == CLEAN]
    scores = score_twoafc(clean, (0.4,))
    assert attacked_table(scores) is None
    assert groups_table(scores) is None


def test_curves_fall_at_radii_and_at_the_least_change_found():
    clean = [entry for entry in rows() if entry["attack"] == CLEAN]
    at = np.array([0.0, 0.49, 0.6, 0.79, 0.81, 2.5])
    certified = score_curve(clean, at, [entry["radius"] for entry in clean])
    assert certified.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3, 0])
    least = least_changes(clean, rows())
    assert least[:2] == [0.8, float("inf")]
    attacked = score_curve(clean, at, least)
    assert attacked.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert (certified <= attacked).all()
