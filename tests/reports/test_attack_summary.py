"""The numbers of an attack, against a count by hand."""

import pytest

from percert.reports import summarise_attacks
from percert.reports.attack_summary import rounding_words

ROW = {
    "attack": "a",
    "attacked": True,
    "success": True,
    "success_8bit": True,
    "l2": 1.0,
    "seconds": 2.0,
    "model_calls": 10.0,
}


def test_rates_are_of_the_attacked_and_distances_of_the_successful() -> None:
    rows = [
        ROW,
        {**ROW, "l2": 2.0, "seconds": 4.0},
        {**ROW, "l2": 6.0},
        {**ROW, "success_8bit": False, "l2": 100.0},
        {**ROW, "attacked": False, "success": False, "success_8bit": False, "l2": None},
        {**ROW, "attack": "b", "success": False, "success_8bit": False},
    ]
    first, second = summarise_attacks(rows, ["l2"])
    assert (first.attack, first.images, first.attacked) == ("a", 5, 4)
    assert (first.success, first.success_8bit) == (1.0, 0.75)
    assert (first.mean["l2"], first.median["l2"]) == (3.0, 2.0)
    assert (first.seconds, first.model_calls) == (2.5, 10.0)
    assert (second.success, second.mean["l2"], second.median["l2"]) == (0.0, None, None)
    everyone, _ = summarise_attacks(rows, ["l2"], over="attacked")
    assert everyone.mean["l2"] == pytest.approx(109 / 4)


def test_nothing_attacked_has_no_rates() -> None:
    (found,) = summarise_attacks([{**ROW, "attacked": False}], ["l2"])
    assert (found.success, found.success_8bit, found.seconds, found.model_calls) == (None,) * 4


def test_what_rounding_costs_is_told_apart() -> None:
    failed = {**ROW, "success_8bit": False}
    rows = [
        ROW,
        {**failed, "outside_8bit": True},
        {**failed, "outside_8bit": True, "success": False},
        {**failed, "outside_8bit": False},
        {**failed, "success": False},
    ]
    (found,) = summarise_attacks(rows, ["l2"])
    assert (found.outside_8bit, found.undone_8bit) == (0.4, 0.2)
    assert rounding_words("a", 5, 0.4, 0.2) == (
        "a: 2 of 5 reach the goal as files of 8 bits only outside of what was allowed; "
        "rounding undoes 1"
    )
    assert rounding_words("a", 5, 0.0, 0.2) == "a: rounding undoes 1 of 5"
    assert rounding_words("a", 5, 0.0, 0.0) is None
