"""No edit inside a certified range changes an answer, sampled, searched for and tampered with."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from percert.certify import (
    EDITS,
    AllCrops,
    AllShifts,
    AllTurns,
    edited,
    edits,
    edits_everywhere,
    edits_everywhere_twoafc,
    edits_twoafc,
)
from percert.certify.editing.crops import Crops
from percert.certify.editing.enumerated import _Ball
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.shifts import shifted
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import LipSimTiny, Thumbnail

from . import pixel_attacks
from .photographs import edited as copies_of
from .photographs import photographs

FINITE = [name for name, family in EDITS.items() if family.finite is not None]
METRICS = {"lipsim-tiny": LipSimTiny, "thumbnail": Thumbnail}


@pytest.fixture(scope="module", params=METRICS)
def metric(request):
    return METRICS[request.param]()


def pair():
    """A photograph and an edited copy of it, of other sizes."""
    return photographs(48, 64)[:1].double(), copies_of(photographs(40, 44)[:1].double(), 0.5)


def threshold_of(metric, reference, candidate, is_copy):
    """One that leaves some room on the side asked for."""
    now = float(metric(reference, candidate))
    return 1.6 * now + 0.03 if is_copy else 0.6 * now


def inside(found, count=60):
    """Values of a range: its ends, and between."""
    low, high = found.low, found.high
    assert low is not None
    if found.edit in ("jpeg", "webp"):
        return [float(q) for q in range(int(low), int(high) + 1, 5)]
    return torch.linspace(low, high, count, dtype=torch.float64).tolist()


def distances(metric, reference, image, edit, values, rounded=True):
    made = [edited(image[0], edit, value) for value in values]
    made = [round_to_8bit(one) for one in made] if rounded else made
    return torch.cat([metric(reference, one[None]) for one in made])


def worst(metric, reference, image, edit, found, sign, rounded):
    """The largest of sign * distance: a grid, and golden sections around its best value."""
    values = inside(found)
    got = sign * distances(metric, reference, image, edit, values, rounded)
    best = int(got.argmax())
    most = float(got.max())
    if edit in FINITE:
        return most
    low, high = values[max(best - 1, 0)], values[min(best + 1, len(values) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(12):
        a, b = high - golden * (high - low), low + golden * (high - low)
        first, second = (sign * distances(metric, reference, image, edit, [a, b], rounded)).tolist()
        most = max(most, first, second)
        low, high = (low, b) if first > second else (a, high)
    return most


@pytest.mark.parametrize("is_copy", [True, False], ids=["copy", "no copy"])
@pytest.mark.parametrize("edit", EDITS)
def test_no_value_in_the_range_changes_whether_it_is_a_copy(metric, edit, is_copy):
    reference, candidate = pair()
    threshold = threshold_of(metric, reference, candidate, is_copy)
    family = EDITS[edit]
    # As far as the crops keep a few pixels.
    within = (0.8, 1.0) if edit == "downscale" else family.limits
    found = edits(metric, reference, candidate, edit, threshold=threshold, within=within)
    assert found.decision == is_copy
    assert found.low is not None
    assert found.low < family.unchanged or family.unchanged < found.high
    sign = 1 if is_copy else -1
    for rounded in (True, False):
        most = worst(metric, reference, candidate, edit, found, sign, rounded)
        assert most <= sign * threshold


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        *(("thumbnail", edit) for edit in ("brightness", "gamma", "rotation", "blur", "crop")),
        ("lipsim-tiny", "contrast"),
        ("lipsim-tiny", "zoom"),
    ],
)
def test_no_tamper_on_top_changes_it_either(name, edit):
    metric, (reference, candidate) = METRICS[name](), pair()
    threshold = threshold_of(metric, reference, candidate, True)
    eps = 0.2
    plain = edits(metric, reference, candidate, edit, threshold=threshold)
    found = edits(metric, reference, candidate, edit, threshold=threshold, eps=eps)
    assert plain.low <= found.low < found.high <= plain.high
    for value in inside(found, 4):
        image = edited(candidate[0], edit, value)[None]
        assert not flipped(metric, reference, image, threshold, eps), value


def flipped(metric, reference, image, threshold, eps):
    """Whether an l2 attack of ``eps`` makes the image no copy."""
    with torch.no_grad():
        kept = metric.embed(reference)

    def margin(moved):
        h = pixel_attacks.embed(metric, moved, kept.dtype)
        return threshold - pixel_attacks.distance(h, kept.expand_as(h), metric.constant)

    return bool(pixel_attacks.flips(margin, (image,), torch.tensor([eps]), steps=8))


@pytest.mark.parametrize("edit", ["contrast", "saturation", "zoom", "jpeg"])
def test_no_value_in_the_range_changes_which_is_closer(metric, edit):
    reference, candidate = pair()
    other = photographs(56, 48)[1:2].double()
    found = edits_twoafc(metric, reference, candidate, other, edit)
    for value in inside(found, 40):
        image = round_to_8bit(edited(reference[0], edit, value))[None]
        gap = float(metric(image, other)) - float(metric(image, candidate))
        assert gap * (1 if found.decision == 0 else -1) > 0


def test_every_crop_and_shift_of_a_proven_region_is_a_copy(metric):
    image = photographs(30, 34)[:1].double()
    threshold = 0.35
    found = edits_everywhere(metric, image, image, AllCrops(0.85), threshold=threshold)
    if found.proven:
        crops = [
            image[..., top : 30 - low, left : 34 - right]
            for top in range(5)
            for low in range(5 - top)
            for left in range(6)
            for right in range(6 - left)
        ]
        assert max(float(metric(image, crop)) for crop in crops) <= threshold
    found = edits_everywhere(metric, image, image, AllShifts(1), threshold=threshold)
    if found.proven:
        moves = torch.linspace(-1, 1, 9).tolist()
        made = [shifted(image[0], down, across)[None] for down in moves for across in moves]
        assert max(float(metric(image, one)) for one in made) <= threshold


def test_no_shift_and_no_crop_of_a_proven_region_changes_which_is_closer(metric):
    reference, candidate = pair()
    other, proven = photographs(56, 48)[1:2].double(), 0
    for region in (AllShifts(2), AllCrops(0.9)):
        found = edits_everywhere_twoafc(metric, reference, other, candidate, region)
        made = [
            shifted(reference[0], down, across)[None]
            for down, across in product(torch.linspace(-2, 2, 9).tolist(), repeat=2)
        ]
        if isinstance(region, AllCrops):
            made = [
                reference[..., top : 48 - low, left : 64 - right]
                for top, low, left, right in product((0, 2, 4), (0, 2, 4), (0, 3, 6), (0, 3, 6))
                if top + low <= 4 and left + right <= 6
            ]
        if found.proven:
            proven += 1
            assert all(float(metric(one, candidate)) < float(metric(one, other)) for one in made)
    assert proven


def test_every_turn_with_every_brightness_of_a_proven_region_is_a_copy(metric):
    image = photographs(40, 44)[:1].double()
    region = AllTurns((-2.0, 2.0), (0.8, 1.25))
    threshold = 0.4
    found = edits_everywhere(metric, image, image, region, threshold=threshold)
    assert found.proven
    for degrees in torch.linspace(-2, 2, 11).tolist():
        turned = edited(image[0], "rotation", degrees)
        for factor in torch.linspace(0.8, 1.25, 9).tolist():
            made = round_to_8bit((factor * turned).clamp(0, 1))
            assert float(metric(image, made[None])) <= threshold


def test_some_region_is_proven_and_a_larger_one_is_not(metric):
    image = photographs(48, 48)[:1].double()
    run = [
        edits_everywhere(metric, image, image, AllCrops(share), threshold=0.45)
        for share in (0.96, 0.4)
    ]
    assert run[0].proven
    assert (run[1].proven, run[1].stopped) == (False, "answer")
    assert run[1].open is not None
    late = edits_everywhere(metric, image, image, AllCrops(0.9), threshold=0.45, budget=1)
    assert late.proven is False or late.evaluations <= 16


# Broken bounds are found.


def test_distances_that_are_halved_are_found(monkeypatch):
    metric, image, threshold = Thumbnail(8), photographs(30, 34)[:1].double(), 0.2
    right = NetworkInput.length
    monkeypatch.setattr(NetworkInput, "length", lambda self, d: 0.3 * right(self, d))
    shares = [share for share in (1, 2, 3) if broken_shift(metric, image, share, threshold)]
    assert shares


def broken_shift(metric, image, pixels, threshold):
    """Whether a region is called proven that holds a shift which is no copy."""
    found = edits_everywhere(metric, image, image, AllShifts(pixels), threshold=threshold)
    moves = range(-pixels, pixels + 1)
    made = [shifted(image[0], down, across)[None] for down in moves for across in moves]
    return found.proven and max(float(metric(image, one)) for one in made) > threshold


def test_no_shift_is_called_proven_that_is_no_copy():
    metric, image = Thumbnail(8), photographs(30, 34)[:1].double()
    for threshold in (0.05, 0.1, 0.2, 0.3):
        assert not any(broken_shift(metric, image, pixels, threshold) for pixels in (1, 2, 3))


def test_crops_that_are_taken_for_nearer_than_they_are_are_found(monkeypatch):
    metric, image = Thumbnail(8), photographs(30, 34)[:1].double()
    made = [
        image[..., top : 30 - low, left : 34 - right]
        for top, low, left, right in product(range(4), repeat=4)
        if top + low <= 3 and left + right <= 3
    ]
    # One that the smallest crops do not pass.
    threshold = 0.9 * max(float(metric(image, crop)) for crop in made)

    def proven():
        found = edits_everywhere(metric, image, image, AllCrops(0.9), threshold=threshold)
        return found.proven

    assert not proven()
    right = Crops.distances
    monkeypatch.setattr(Crops, "distances", lambda *given: 0.01 * right(*given))
    # The first anchor has to be a copy: anchors that are none are seen by themselves.
    monkeypatch.setattr(Crops, "take", lambda self, most: [(0, 0)] if self.open.any() else [])
    assert proven()


def test_balls_around_finite_edits_that_are_too_wide_are_found(monkeypatch):
    metric, (reference, candidate) = Thumbnail(8), pair()
    threshold = threshold_of(metric, reference, candidate, True)
    # A ball that is proven is carried on to the values that follow.
    monkeypatch.setattr("percert.certify.editing.enumerated.TOGETHER", 2)

    def broken():
        found = edits(metric, reference, candidate, "crop", threshold=threshold)
        images = [edited(candidate[0], "crop", value)[None] for value in inside(found)]
        return max(float(metric(reference, image)) for image in images) > threshold

    assert not broken()
    right = _Ball.__call__
    monkeypatch.setattr(
        _Ball, "__call__", lambda ball, *given: right(replace(ball, radius=9 * ball.radius), *given)
    )
    assert broken()


def test_a_norm_of_the_resize_that_is_left_out_is_found(monkeypatch):
    """Smaller images than the network's are enlarged: a tamper grows, its norm is above 1."""
    metric = Thumbnail(16)
    reference, candidate = photographs(6, 8)[:1].double(), copies_of(photographs(5, 5)[:1], 0.5)
    candidate = candidate.double()
    threshold, eps = threshold_of(metric, reference, candidate, True), 0.1

    def broken():
        found = edits(metric, reference, candidate, "brightness", threshold=threshold, eps=eps)
        assert found.low is not None
        images = [edited(candidate[0], "brightness", value)[None] for value in inside(found, 9)]
        return any(flipped(metric, reference, image, threshold, eps) for image in images)

    assert not broken()
    assert NetworkInput.of(metric, (5, 5)).norm > 3
    monkeypatch.setattr(NetworkInput, "norm", 1.0)
    assert broken()
