"""Attacks on copies: as strong as the closed form, and caught where a certificate lies."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from percert import certify, create_metric
from percert.data.copy_edits import find_edit
from percert.evaluation.copies.attack import (
    AttackedPair,
    CrossThreshold,
    attacked_rates,
    cross,
    random_start,
)
from percert.evaluation.copies.detector import MetricDetector, attacked
from percert.evaluation.copies.hashes import dhash
from percert.evaluation.copies.measure import measure
from percert.evaluation.copies.pictures import as_tensor
from percert.lipschitz.bound import LipschitzBound
from percert.runs.certified import BrokenCertificate, check_flags
from percert.search.ingest.views import asked_views, find_view
from percert.tensors import l2_norm

_spec = importlib.util.spec_from_file_location(
    "copies_world", Path(__file__).with_name("copies_world.py")
)
world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world)


def tiny():
    """8 x 8 pictures of little contrast: the thumbnail is linear there, and [0, 1] far away."""
    return 0.4 + 0.2 * as_tensor([world.picture(seed, (8, 8)) for seed in range(4)])


def test_a_collision_reaches_the_certified_radius_of_a_linear_metric():
    """A stranger is pulled in just beyond its radius, and never inside of it."""
    metric = create_metric("thumbnail-8", device="cpu")
    detector, images = MetricDetector(metric), tiny()
    vectors = detector.describe(images).vectors
    certificate = certify.copies(metric, images.roll(1, 0), images, 0.3)
    assert not certificate.decision.any()
    for place, radius in enumerate(certificate.radius.tolist()):
        one, reference = images[place : place + 1], vectors.roll(1, 0)[place : place + 1, None]
        for share, reached in ((0.999, False), (1.02, True)):
            eps = share * radius
            start = one + random_start(one, eps, seed=0)
            goal = CrossThreshold(reference, 0.3, evade=False)
            moved, inside = cross(detector, goal, one, eps, 100, start)
            assert inside.item() == reached, share
            assert l2_norm(moved - one).item() <= eps
            distance = detector.distances(detector.describe(moved).vectors, reference[0])
            assert (distance.item() <= 0.3) == reached


def test_of_several_views_all_have_to_be_left():
    """Two views that are both near: the attack must leave both, and knows which is nearer."""
    metric = create_metric("thumbnail-8", device="cpu")
    detector, images = MetricDetector(metric), tiny()
    vectors = detector.describe(images).vectors
    shifted = detector.describe((images + 0.02 * images.flip(-1)).clamp(0, 1)).vectors
    views = torch.stack([vectors, shifted], 1)
    objective, distance = attacked(detector, images, views)
    expected = torch.minimum(
        detector.distances(vectors, vectors).diagonal(),
        detector.distances(vectors, shifted).diagonal(),
    )
    torch.testing.assert_close(distance, expected, atol=1e-7, rtol=0)
    # A soft minimum of two lies below the minimum, by at most its softness times log 2.
    assert (objective <= distance + 1e-12).all()
    assert (objective >= distance - 0.02 * np.log(2) - 1e-12).all()
    start = images + random_start(images, 2.0, seed=0)
    goal = CrossThreshold(views, 0.05, evade=True)
    moved, hidden = cross(detector, goal, images, 2.0, 60, start)
    assert hidden.all()
    after = detector.describe(moved).vectors
    for view in (vectors, shifted):
        assert (detector.distances(after, view).diagonal() > 0.05).all()


def test_a_band_is_left_by_the_same_band_of_the_image():
    """The attack looks at every view of the image that is asked, each beside its own references."""
    detector, images = MetricDetector(create_metric("thumbnail-8", device="cpu")), tiny()
    names = ("whole", "upper", "mirror-whole")
    stored = [detector.describe(find_view(name)(images)).vectors for name in names]
    upper = detector.describe(find_view("upper")(images.roll(1, 0))).vectors
    whole = detector.describe(images.roll(1, 0)).vectors
    views = torch.stack(stored, 1)
    moving = images.roll(1, 0).requires_grad_()
    objective, distance = attacked(detector, moving, views, asked_views(names))
    each = [
        detector.distances(one, other).diagonal()
        for one, other in zip((whole, upper, whole), stored, strict=True)
    ]
    expected = torch.stack(each).amin(0)
    torch.testing.assert_close(distance, expected, atol=1e-6, rtol=0)
    assert (expected < torch.stack([each[0], each[2]]).amin(0)).any()
    assert (expected < each[1]).any()
    # What lies below the band has a gradient too, that of the whole.
    (way,) = torch.autograd.grad(objective.sum(), moving)
    assert (way[:, :, 7].abs().amax((1, 2)) > 0).all()


@pytest.fixture(scope="module", params=[("whole",), ("whole", "centre-80", "upper", "middle")])
def world_of_pairs(request):
    images = world.pictures(4)
    edits = [find_edit("jpeg-50"), find_edit("crop-90-random")]
    detector = world.thumbnail()
    measured = measure([detector], images, range(4), edits, views=request.param)
    gallery = measured["thumbnail-8"].gallery
    copies = [AttackedPair(i, edit.name, i) for edit in edits for i in range(4)]
    strangers = [AttackedPair(i, None, (i + 1) % 4) for i in range(4)]
    return images, detector, gallery, copies, strangers


@pytest.mark.parametrize("copies", [True, False])
def test_proven_is_right_under_attack_is_right_without(world_of_pairs, copies):
    images, detector, gallery, *both = world_of_pairs
    wanted = both[0] if copies else both[1]
    told = []
    found = attacked_rates(
        detector,
        gallery,
        images,
        wanted,
        0.12 if copies else 0.5,
        copies=copies,
        steps=12,
        seed=0,
        budgets=(64.0, 1.0, 16.0),
        done=told.append,
    )
    assert sum(told) == found.pairs == len(wanted)
    assert found.photographs == 4
    assert [entry.eps for entry in found.budgets] == [1.0, 16.0, 64.0]
    last = found.natural
    for entry in found.budgets:
        assert entry.certified <= entry.rate <= last
        last = entry.rate
    # Far enough, nothing is left: the attack is no empty gesture.
    assert found.budgets[0].rate > found.budgets[-1].rate == 0
    assert found.budgets[0].certified > 0


@pytest.mark.parametrize("copies", [True, False])
def test_a_bound_that_is_too_small_is_caught(world_of_pairs, copies):
    """A mutation: with a tenth of the bound, radii are ten times too long, and the run stops."""
    images, detector, gallery, *both = world_of_pairs

    class Lying(MetricDetector):
        def describe(self, batch):
            found = super().describe(batch)
            features = found.features
            bound = LipschitzBound(features.bound.value / 10, "a lie")
            long = replace(features, h=10 * features.h, error=10 * features.error, bound=bound)
            return replace(found, features=long)

    with pytest.raises(BrokenCertificate, match="broke a certificate"):
        attacked_rates(
            Lying(detector.metric),
            gallery,
            images,
            both[0] if copies else both[1],
            0.12 if copies else 0.5,
            copies=copies,
            steps=12,
            seed=0,
            budgets=(64.0,),
        )


def test_the_order_is_checked_on_both_sides():
    yes, no = np.array([True]), np.array([False])
    check_flags("x", 1.0, natural=yes, right=yes, proven=yes)
    check_flags("x", 1.0, natural=yes, right=no, proven=None)
    with pytest.raises(BrokenCertificate, match="right under attack"):
        check_flags("x", 1.0, natural=no, right=yes, proven=no)


def test_a_hash_gives_way_on_both_sides():
    pytest.importorskip("imagehash", reason="needs the extra 'experiments'")
    images, detector = world.pictures(4), dhash()
    gallery = measure([detector], images, range(4), [find_edit("jpeg-50")])["dhash"].gallery
    for copies, wanted, threshold in (
        (True, [AttackedPair(i, "jpeg-50", i) for i in range(4)], 0.1),
        (False, [AttackedPair(i, None, (i + 1) % 4) for i in range(4)], 0.3),
    ):
        found = attacked_rates(
            detector, gallery, images, wanted, threshold, copies=copies, steps=15, seed=0
        )
        assert found.natural == 1
        assert found.budgets[-1].rate <= 0.5
        assert found.budgets[-1].certified is None
        assert found.budgets[-1].rate_8bit < 1
