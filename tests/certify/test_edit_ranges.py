"""What ``certify.edits`` answers, and what it refuses."""

import gc
import weakref

import pytest
import torch

from percert import certify, create_metric
from percert.certify import EDITS, edited, edits, edits_everywhere
from percert.certify.editing import enumerated
from percert.certify.editing.crops import Crops
from percert.certify.editing.enumerated import cropped, kept
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.rotation_brightness import TurnedBrightness
from percert.certify.editing.shifts import Shifts
from percert.metrics.certified.lipsim import Thumbnail


def photo(height=40, width=52):
    rows, columns = torch.linspace(0, 3, height), torch.linspace(0, 4, width)
    waves = (rows[:, None].sin() * columns.cos() + 1) / 2
    return torch.stack([waves, 1 - waves, waves**2])[None]


def test_the_function_edited_is_public_whatever_was_imported_before():
    assert callable(certify.edited)


@pytest.mark.parametrize("edit", EDITS)
def test_standard_ranges_lie_within_the_limits_around_unchanged(edit):
    family = EDITS[edit]
    for low, high in (family.standard, family.limits):
        assert family.bounds[0] <= low <= family.unchanged <= high <= family.bounds[1]
    assert family.limits[0] <= family.standard[0] < family.standard[1] <= family.limits[1]
    assert (family.path is None) != (family.finite is None)


def test_every_size_between_is_looked_at(monkeypatch):
    metric, made = Thumbnail(8), []

    def spy(image, share):
        made.append(tuple(cropped(image, share).shape[1:]))
        return cropped(image, share)

    monkeypatch.setattr(enumerated, "cropped", spy)
    found = edits(metric, photo(), photo(), "crop", threshold=0.9, within=(0.8, 1))
    assert (found.low, found.high, found.stopped_low) == (0.8, 1, "limit")
    # 52 to 42 pixels of the longer side.
    shares = torch.linspace(0.8, 1, 999, dtype=torch.float64).tolist()
    assert set(made) == {kept((40, 52), share) for share in shares}
    assert len(set(made)) == 11


@pytest.mark.parametrize("edit", ["crop", "jpeg", "downscale"])
def test_values_in_the_ball_of_another_are_proven_without_an_embedding(edit, monkeypatch):
    metric = Thumbnail(8)

    def answers():
        ask = (metric, photo(), photo(), edit)
        found = [edits(*ask, threshold=threshold) for threshold in (0.01, 0.03, 0.2)]
        return [(one.low, one.stopped_low) for one in found], sum(one.evaluations for one in found)

    ends, few = answers()
    assert len(set(ends)) > 1
    right = enumerated._Ball.__call__

    def of_itself(ball, inputs, margins):
        same = (inputs == ball.centre).flatten(1).all(1)
        return right(ball, inputs, margins) & same

    monkeypatch.setattr(enumerated._Ball, "__call__", of_itself)
    alone, many = answers()
    assert alone == ends
    assert few < 0.7 * many


def test_a_range_ends_where_the_answer_does():
    metric = Thumbnail(8)
    found = edits(metric, photo(), photo(), "rotation", threshold=0.05, within=(-180, 30))
    assert found.stopped_low == found.stopped_high == "answer"
    assert found.low < -1
    assert found.high > 1
    for value, is_copy in ((found.low, True), (1.6 * found.low, False)):
        turned = edited(photo()[0], "rotation", value)[None]
        assert (float(metric(photo().double(), turned)) <= 0.05) is is_copy


def test_a_tamper_on_top_makes_ranges_smaller_and_rounding_makes_them_no_larger():
    metric = Thumbnail(8)
    ask = {"threshold": 0.05, "within": (0.0, 10.0)}
    ranges = [
        edits(metric, photo(), photo(), "contrast", rounded=rounded, eps=eps, **ask)
        for eps, rounded in ((0.0, False), (0.0, True), (2.0, True))
    ]
    highs = [found.high for found in ranges]
    assert highs == sorted(highs, reverse=True)
    assert highs[0] > highs[2]


def test_nothing_is_proven_of_a_plain_image():
    metric = create_metric("lipsim-tiny", device="cpu")
    grey = torch.full((1, 3, 64, 64), 0.5)
    found = edits(metric, grey, grey, "gamma", threshold=0.4)
    assert (found.low, found.high, found.holds(1, 1)) == (None, None, False)


def test_a_budget_that_is_spent_is_not_known():
    metric = Thumbnail(8)
    found = edits(metric, photo(), photo(), "rotation", threshold=0.9, budget=4)
    assert found.stopped_low == found.stopped_high == "budget"
    assert -20 < found.low <= 0 <= found.high < 20
    late = edits_everywhere(
        metric, photo(), photo(), certify.AllCrops(0.5), threshold=0.9, seconds=0
    )
    assert (late.proven, late.stopped) == (False, "budget")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edit": "rotaton"}, "edit: none is called 'rotaton', did you mean 'rotation'"),
        ({"edit": "gamma", "within": (2, 3)}, "within: expected a range around 1"),
        ({"edit": "crop", "within": (-1, 1)}, "crop: expected a value from 0 to 1, found -1"),
        ({"edit": "blur", "eps": -1}, "eps"),
        ({"edit": "blur", "reference": torch.zeros(2, 3, 8, 8)}, "reference: expected one image"),
        ({"edit": "blur", "metric": create_metric("ssim")}, "no proven Lipschitz bound"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments, message):
    given = {"metric": Thumbnail(8), "reference": photo(), "candidate": photo(), "threshold": 0.1}
    with pytest.raises(ValueError, match=message):
        edits(**{**given, **arguments})


@pytest.mark.parametrize(
    "region",
    [certify.AllShifts(3), certify.AllCrops(0.8), certify.AllTurns((-1, 1), (0.9, 1.1))],
    ids=["shifts", "crops", "turns"],
)
def test_an_answer_that_nothing_can_change_stands_everywhere(region):
    found = edits_everywhere(Thumbnail(8), photo(), photo(), region, threshold=2.0)
    assert (found.proven, found.stopped) == (True, "limit")


@pytest.mark.parametrize("kind", [Shifts, Crops, TurnedBrightness])
def test_a_region_that_is_done_is_freed_at_once(kind):
    metric, given = Thumbnail(8), {Shifts: 3, Crops: 0.8, TurnedBrightness: (-1, 1, 0.9, 1.1)}
    region = kind(photo()[0].double(), NetworkInput.of(metric, (40, 52)), given[kind])
    if kind is Crops:
        assert region.strike(region.take(1)[0], 0.5)
    else:
        assert region.rest(region.start()[0], 0.5) is not None
    held = weakref.ref(region)
    gc.disable()
    try:
        del region
        assert held() is None
    finally:
        gc.enable()


def test_regions_that_are_none_are_said():
    for region, message in (
        (certify.AllShifts(0), "pixels: expected 1 to 39"),
        (certify.AllCrops(1.5), "share: expected a number in"),
    ):
        with pytest.raises(ValueError, match=message):
            edits_everywhere(Thumbnail(8), photo(), photo(), region, threshold=0.1)


def test_crops_of_large_images_are_taken_in_steps():
    assert certify.AllCrops(0.9).step_of((299, 299)) == 1
    assert certify.AllCrops(0.9).step_of((1000, 800)) == 4
    assert certify.AllCrops(0.9, step=2).step_of((1000, 800)) == 2
