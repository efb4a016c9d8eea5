"""The threshold of a pair of files, by how rarely strangers are as near, and what it proves."""

import dataclasses

import pytest
import torch

from percert.certify.answers import compare_pair, prepare
from percert.certify.features import embed
from percert.metrics.catalog import create_metric
from percert.search import open_store
from percert.search.query.reference_threshold import reference_threshold

from .conftest import smooth_image


@pytest.fixture(scope="module")
def metric():
    return create_metric("lipsim-tiny", device="cpu")


@pytest.fixture(scope="module")
def image():
    return smooth_image(1, (60, 80))


@pytest.mark.parametrize("wrong", [1e-3, 1e-6, 1e-9])
def test_it_is_that_of_an_index_which_holds_the_reference_alone(tmp_path, metric, image, wrong):
    pytest.importorskip("lancedb")
    store = open_store(tmp_path / "store", metric)
    store.add([image], ["one"])
    found = reference_threshold(metric, embed(metric, image[None]), wrong)
    rule = store.rule(wrong=wrong)
    assert found.threshold.rule.distance == rule.threshold
    assert (found.wrong, found.counted) == (rule.wrong, rule.counted)
    (answer,) = store.copies(image[None] * 0.95, wrong=wrong)
    # Rows are kept in half precision.
    assert found.threshold.distance == pytest.approx(answer.results[0].threshold, abs=2e-3)


def test_the_rarer_a_stranger_may_be_the_nearer_must_a_copy_be(metric, image):
    features = embed(metric, image[None])
    found = [reference_threshold(metric, features, wrong) for wrong in (1e-2, 1e-4, 1e-6, 1e-9)]
    distances = [one.threshold.distance for one in found]
    assert distances == sorted(distances, reverse=True)
    assert [one.counted for one in found] == [True, True, True, False]
    assert "1 in 1,000,000 is as near; " in str(found[2])
    assert "(extrapolated)" in str(found[3])


def test_a_reference_that_moves_takes_its_threshold_along(metric, image):
    reference = prepare(metric, image)
    own = reference_threshold(metric, reference.features, 1e-4).threshold
    radii = {}
    for perturbed in ("candidate", "reference", "both"):
        said = compare_pair(
            metric, reference, image * 0.9, "b", eps=1.0, threshold=own, perturbed=perturbed
        )
        assert said.copy
        radii[perturbed] = said.radius
    fixed = compare_pair(
        metric, reference, image * 0.9, "b", eps=1.0, threshold=own.distance, perturbed="candidate"
    )
    assert radii["candidate"] == pytest.approx(fixed.radius)
    assert 0 < radii["both"] < radii["reference"] < radii["candidate"]
    # Nothing within the radius turns it round: along the way to another picture.
    other = smooth_image(2, (60, 80))
    step = (other - image) / (other - image).norm() * 0.99 * radii["reference"]
    moved = prepare(metric, (image + step).double())
    likeness = reference_threshold(metric, moved.features, 1e-4).threshold
    again = compare_pair(
        metric, moved, image * 0.9, "b", eps=1.0, threshold=likeness, perturbed="candidate"
    )
    assert again.copy


def test_a_metric_without_strangers_says_so(image):
    metric = create_metric("lipsim-tiny", checkpoint="random", device="cpu")
    with pytest.raises(ValueError, match="no table of strangers for weights of your own"):
        reference_threshold(metric, embed(metric, image[None]), 1e-3)


def test_a_threshold_is_the_rule_at_a_likeness(metric, image):
    own = reference_threshold(metric, embed(metric, image[None]), 1e-3).threshold
    nearer = dataclasses.replace(own, likeness=own.likeness + 0.1)
    assert own.distance - nearer.distance == pytest.approx(0.1 * own.rule.weight)
    assert torch.equal(own.vector, torch.tensor([own.likeness], dtype=torch.float64))
