"""The numbers of attacks, against numpy and by hand; which attacks differ in one setting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percert.evaluation.attack_runs.compare import (
    distance_column,
    number_attacks,
    ratios_to,
    shared_images,
    spread,
)
from percert.evaluation.attack_runs.read import ablations, family


def row(attack, image, l2=None, seconds=1.0, **more):
    return {
        "attack": attack,
        "image": image,
        "attacked": True,
        "success": True,
        "success_8bit": l2 is not None,
        "l2": l2,
        "seconds": seconds,
        "cpu_seconds": None,
        "model_calls": 4.0,
        **more,
    }


ROWS = [
    *(row("base", name, l2, 1.0) for name, l2 in (("a", 1.0), ("b", 2.0), ("c", 6.0))),
    row("base", "z", attacked=False, success_8bit=False, seconds=0.0),
    *(row("mine", name, l2, 3.0) for name, l2 in (("a", 0.5), ("b", None), ("c", 3.0))),
    row("late", "c", 6.0, 2.0),
]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_spread_is_numpys(values):
    found = spread(values)
    expected = np.percentile(values, (0, 25, 50, 75, 100))
    assert [found.least, found.lower, found.median, found.upper, found.most] == pytest.approx(
        list(expected), abs=1e-6
    )
    assert found.mean == pytest.approx(np.mean(values), abs=1e-6)


def test_shares_are_of_the_attacked_and_distances_of_the_successful():
    base, mine, late = number_attacks(ROWS, ["l2"])
    assert (base.attacked, base.success_8bit, base.mean("l2"), base.seconds) == (3, 1.0, 3.0, 3.0)
    assert (mine.attacked, mine.success, mine.success_8bit) == (3, 1.0, pytest.approx(2 / 3))
    assert (mine.mean("l2"), mine.median("l2"), mine.effort["seconds"]) == (1.75, 1.75, 3.0)
    assert (late.attacked, late.effort["cpu_seconds"]) == (1, None)


def test_on_the_images_that_all_succeed_on():
    assert shared_images(ROWS) == ["c"]
    assert [entry.mean("l2") for entry in number_attacks(ROWS, ["l2"], images=["c"])] == [6, 3, 6]
    failing = [*ROWS, row("never", "a")]
    assert shared_images(failing) == []
    assert number_attacks(failing, ["l2"])[3].distances == {"l2": None}


def test_ratios_pair_images_and_do_not_reward_failing_on_the_hard_ones():
    ratios = ratios_to("base", ROWS, ["l2"])
    assert ratios["mine"]["l2"] == pytest.approx(3.5 / 7)  # a and c; unpaired it is 1.75 / 3
    assert ratios["mine"]["images"] == 2
    assert ratios["mine"]["seconds"] == 3.0
    assert ratios["mine"]["cpu_seconds"] is None
    assert ratios["late"] == {
        "images": 1, "l2": 1.0, "seconds": 2.0, "cpu_seconds": None, "model_calls": 1.0
    }  # fmt: skip
    assert ratios["base"]["l2"] == 1.0
    with pytest.raises(ValueError, match="no attack 'best' in the runs, found base, mine, late"):
        ratios_to("best", ROWS, ["l2"])


def test_ablations_differ_in_one_setting_defaults_included():
    specs = {
        "human-perc-ot": "human-perc-ot",
        "lam": "human-perc-ot:lam=2",
        "step": "human-perc-ot:step=0.05",
        "both": "human-perc-ot:lam=2,step=0.05",
        "pgd": "pgd:eps=1",
        "gone": "an-attack-that-was:x=1",
    }
    found = {(a.name, a.option, tuple(name for _, name in a.attacks)) for a in ablations(specs)}
    assert found == {
        ("human-perc-ot", "lam", ("human-perc-ot", "lam")),
        ("human-perc-ot", "lam", ("step", "both")),
        ("human-perc-ot", "step", ("human-perc-ot", "step")),
        ("human-perc-ot", "step", ("lam", "both")),
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("ascent", ("ascent", 0.0)),
        ("human-perc-ot:confidence=5", ("human-perc-ot", 5.0)),
        ("x:steps=3,confidence=1.5,cost=ssim", ("x:steps=3,cost=ssim", 1.5)),
    ],
)
def test_a_family_is_an_attack_but_for_its_confidence(spec, expected):
    assert family(spec) == expected


def scaled_column(name, values):
    column = distance_column(name, lambda value: value, values)
    return column.name, [column.text(value) for value in values]


def test_small_columns_are_in_thousandths_and_the_least_is_marked():
    assert scaled_column("ssim", [0.004, None, 0.0001]) == (
        "1-SSIM (x1000)",
        ["4", "-", "0.1 *"],
    )
    assert scaled_column("gmsd", [0.4, 0.01]) == ("GMSD", ["0.4", "0.01 *"])
    assert scaled_column("linf", [0.008]) == ("L∞", ["0.008"])  # of pixels: as they are


def test_the_closest_is_marked_and_in_decibels_that_is_the_most():
    assert scaled_column("psnr", [31.2, 44.5, None]) == ("PSNR (dB)", ["31.2", "44.5 *", "-"])
    assert scaled_column("mse", [0.2, 0.1]) == ("MSE", ["0.2", "0.1 *"])
