"""Evaluating copies: every number against a slow twin that makes each view and edit by itself."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from percert import certify
from percert.data.copy_edits import apply_edit, find_edit
from percert.evaluation.copies.evaluate import (
    CopiesPlan,
    copy_pairs,
    evaluate_copies,
    stranger_pairs,
)
from percert.evaluation.copies.gallery import ThresholdChoice, parse_threshold, unrelated_threshold
from percert.evaluation.copies.hashes import dhash
from percert.evaluation.copies.measure import ResultsFolder, copy_radii, measure
from percert.evaluation.copies.pictures import PictureFiles, as_tensor
from percert.evaluation.copies.rates import scaled
from percert.runs.items import items_at
from percert.search.ingest.views import find_view
from percert.search.query.threshold import auto_threshold, disjoint_pairs

_spec = importlib.util.spec_from_file_location(
    "copies_world", Path(__file__).with_name("copies_world.py")
)
world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world)

EDITS = tuple(find_edit(name) for name in ("jpeg-30", "crop-80-random", "mirror", "collage-70"))
# "upper" and "middle" are bands, which meet the same band of a query.
VIEWS = ("whole", "centre-80", "upper", "mirror-whole", "middle")


@pytest.fixture(scope="module")
def images():
    return world.pictures(5)


@pytest.fixture(scope="module")
def measured(images):
    return measure([world.thumbnail()], images, [0, 2, 3], EDITS, views=VIEWS)["thumbnail-8"]


def edited(images, queries, place, edit):
    other = images[queries[(place + 1) % len(queries)]]
    return as_tensor([apply_edit(edit, images[queries[place]], 0, place, other)])


def compared(view, stored, query):
    """A stored image and a query as they are compared, in the stored one's ``view``."""
    return find_view(view)(stored), find_view(find_view(view).asked)(query)


def test_distances_are_those_of_the_nearest_view(images, measured):
    metric = world.thumbnail().metric
    for edit in EDITS:
        found = measured.distances[edit.name]
        assert found.shape == (3, 5)
        for row in range(3):
            query = edited(images, [0, 2, 3], row, edit)
            for column, image in enumerate(images):
                each = [metric(*compared(v, as_tensor([image]), query)).item() for v in VIEWS]
                assert found[row, column] == pytest.approx(min(each), abs=1e-6)


@pytest.mark.parametrize("threshold", [0.05, 0.4])
def test_radii_are_those_of_the_best_view_that_matches(images, measured, threshold):
    metric = world.thumbnail().metric
    seen = set()
    for edit in EDITS:
        found = copy_radii(measured, edit, threshold)
        for row, place in enumerate([0, 2, 3]):
            query = edited(images, [0, 2, 3], row, edit)
            original = as_tensor([images[place]])
            best = 0.0
            for view in VIEWS:
                one = certify.copies(metric, *compared(view, original, query), threshold)
                if one.decision:
                    best = max(best, one.radius.item())
            size = (query.shape[2], query.shape[3])
            assert found[row] == pytest.approx(best / scaled(1.0, size), rel=1e-3, abs=1e-2)
            seen.add(best > 0)
    assert seen == {True, False}


def test_views_find_what_the_whole_does_not(images):
    detector, mirror = world.thumbnail(), find_edit("mirror")
    of = {
        views: measure([detector], images, [0, 1], [mirror], views=views)["thumbnail-8"]
        for views in (("whole",), ("whole", "mirror-whole"))
    }
    radii = [copy_radii(one, mirror, 0.1) for one in of.values()]
    assert (radii[0] == 0).all()
    # The mirrored view is the query itself, up to the rounding of float32.
    assert (radii[1] > 1).all()


def test_the_evaluation_is_what_its_parts_say(images):
    plan = CopiesPlan(edits=EDITS, views=VIEWS, budgets=(1.0, 8.0), side=0)
    rows = []
    (result,) = evaluate_copies(
        [world.thumbnail()], images, [0, 2, 3], [1, 4], plan, rows=rows.extend
    )
    (again,) = measure([world.thumbnail()], images, [0, 2, 3], EDITS, views=VIEWS).values()
    own, others = [], []
    for edit in EDITS:
        for row, place in enumerate([0, 2, 3]):
            for column in range(5):
                distance = again.distances[edit.name][row, column]
                pasted = edit.name == "collage-70" and column == [2, 3, 0][row]
                if column == place:
                    own.append(distance)
                elif not pasted:
                    others.append(distance)
    assert (result.copies, result.negatives) == (len(own), len(others)) == (12, 45)
    # At 1e-3 of 45 negatives none may pass.
    assert result.threshold < min(others)
    assert result.threshold == pytest.approx(min(others))
    assert result.natural == np.mean(np.array(own) <= result.threshold)
    radii = np.concatenate([copy_radii(again, edit, result.threshold, 0) for edit in EDITS])
    assert [entry.rate for entry in result.certified] == [
        np.mean(radii > 1),
        np.mean(radii > 8),
    ]
    assert [entry.psnr for entry in result.certified] == [None, None]
    assert 0 < result.certified[1].rate < result.certified[0].rate <= result.natural
    assert [row.distance for row in rows] == pytest.approx(own)
    assert [row.radius for row in rows] == pytest.approx(list(radii))
    assert all(row.nearest_other >= 0 for row in rows)


def test_a_run_that_was_stopped_goes_on_and_says_the_same(images, tmp_path):
    class Counted:
        def __init__(self, inner, most):
            self.inner, self.left, self.name = inner, most, inner.name

        def describe(self, batch):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return self.inner.describe(batch)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    views = ("whole", "upper")
    plan = CopiesPlan(edits=EDITS, views=views, budgets=(4.0,), attacked=3, steps=2)
    (whole,) = evaluate_copies([world.thumbnail()], images, [0, 1], [2, 3], plan)
    parts, runs = ResultsFolder(tmp_path), 0
    while True:
        runs += 1
        try:
            (found,) = evaluate_copies(
                [Counted(world.thumbnail(), 16)], images, [0, 1], [2, 3], plan, parts=parts
            )
            break
        except KeyboardInterrupt:
            assert runs < 6
    assert runs > 1
    assert replace(found, seconds=0.0) == replace(whole, seconds=0.0)
    assert not list(tmp_path.glob("*.part"))


def test_the_attacked_are_a_spread_of_pairs():
    pairs = copy_pairs([4, 7, 9], EDITS, 6)
    assert len({(pair.picture, pair.edit) for pair in pairs}) == 6
    assert len({pair.edit for pair in pairs}) > 2
    assert all(pair.place == [4, 7, 9][pair.picture] for pair in pairs)
    strangers = stranger_pairs([0, 1], [0, 1, 5], 3, seed=0)
    assert [pair.picture for pair in strangers] == [0, 1, 5]
    assert [pair.place for pair in strangers[:2]] == [1, 0]
    assert all(pair.edit is None for pair in strangers)


def test_auto_is_the_threshold_of_unrelated_pictures(images):
    detector = world.thumbnail()
    gallery = measure([detector], images, [0], [find_edit("grey")], views=VIEWS)[
        "thumbnail-8"
    ].gallery
    found = unrelated_threshold(detector, gallery, 0.2)

    def distance(one, other):
        pixels = as_tensor([images[other]]), as_tensor([images[one]])
        return min(detector.metric(*compared(view, *pixels)).item() for view in VIEWS)

    pairs = disjoint_pairs(5).tolist()
    order = [place for pair in pairs for place in pair]
    every = [distance(i, j) for n, i in enumerate(order) for j in order[n + 1 :]]
    slow = auto_threshold(
        torch.tensor([distance(i, j) for i, j in pairs]), torch.tensor(every), 0.2
    )
    assert found.threshold == pytest.approx(slow.threshold, abs=1e-6)
    assert (found.confidence, found.pairs) == (slow.confidence, 2)
    assert found.all_pairs == len(every) == 6


def test_a_given_threshold_holds_the_rivals_to_the_same_rate(images):
    plan = CopiesPlan(edits=EDITS, threshold=ThresholdChoice("given", 0.35), budgets=(1.0,))
    pytest.importorskip("imagehash", reason="needs the extra 'experiments'")
    ours, rival = evaluate_copies([world.thumbnail(), dhash()], images, range(5), [], plan)
    assert ours.threshold == 0.35
    assert rival.fpr_found <= ours.fpr_found
    assert rival.certified == []
    assert ours.certifiable
    assert not rival.certifiable


@pytest.mark.parametrize("text", ["2.5", "auto:0", "auto:x", "fpr:1", "nan", "-1", "often"])
def test_a_threshold_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a distance in \[0, 2\]"):
        parse_threshold(text)


def test_too_little_and_too_much_is_refused(images):
    with pytest.raises(ValueError, match="expected at least 2"):
        measure([], images[:1], [0], EDITS)
    with pytest.raises(ValueError, match="take fewer queries"):
        measure([], images, range(10**8), EDITS)


def test_pictures_are_read_when_they_are_asked_for(tmp_path, images):
    paths = []
    for place, image in enumerate(images):
        paths.append(tmp_path / f"{place}.png")
        image.save(paths[-1])
    files = PictureFiles(items_at(paths))
    assert len(files) == 5
    assert [file.tobytes() for file in files[1:3]] == [image.tobytes() for image in images[1:3]]
    paths[0].write_bytes(b"")
    with pytest.raises(ValueError, match="empty file"):
        files[0]
