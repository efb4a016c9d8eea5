"""The threshold of a pair of files, by how rarely strangers are as near, and what it proves."""

import dataclasses

import pytest
import torch

from percert.certify.answers import compare_pair, prepare
from percert.metrics.catalog import create_metric
from percert.search import open_store
from percert.search.ingest.views import VIEW_SETS
from percert.search.query.reference_rule import RuleAsked, reference_rule

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
    found = reference_rule(metric, image[None], RuleAsked(wrong=wrong))
    assert found.rule == store.rule(wrong=wrong)
    (answer,) = store.copies(image[None] * 0.95, wrong=wrong)
    # Rows are kept in half precision.
    assert found.threshold == pytest.approx(answer.results[0].threshold, abs=2e-3)


def test_in_views_it_is_that_of_an_index_in_those_views(tmp_path, metric, image):
    pytest.importorskip("lancedb")
    store = open_store(tmp_path / "store", metric, views="standard")
    store.add([image], ["one"])
    found = reference_rule(metric, image[None], RuleAsked(views=VIEW_SETS["standard"]))
    assert found.rule == store.rule()
    crop = image[:, 8:52, 10:70]
    (answer,) = store.copies(crop[None])
    said = compare_pair(
        metric, prepare(metric, image), crop, "b", eps=1.0, views=found.views, perturbed="candidate"
    )
    (result,) = answer.results
    assert (said.copy, said.view) == (True, result.view)
    assert said.view != "whole"
    assert said.threshold == pytest.approx(result.threshold, abs=2e-3)
    assert said.view_distance == pytest.approx(result.distance, abs=2e-3)
    assert said.view_distance < said.distance
    assert said.radius == pytest.approx(result.radius, rel=1e-2)


def test_no_step_within_the_radius_takes_a_copy_out_of_all_views(metric, image):
    rule = reference_rule(metric, image[None], RuleAsked(views=VIEW_SETS["standard"], wrong=1e-6))
    reference, crop = prepare(metric, image), image[:, 8:52, 10:70]
    other = smooth_image(2, (44, 60))

    def judged(candidate):
        return compare_pair(
            metric, reference, candidate, "b", eps=1.0, views=rule.views, perturbed="candidate"
        )

    said = judged(crop)
    assert said.copy
    step = (other - crop) / (other - crop).norm()
    assert judged((crop + 0.99 * said.radius * step).clamp(0, 1)).copy
    stranger = judged(other)
    assert stranger.copy is False
    assert stranger.radius > 0
    assert judged((other - 0.99 * stranger.radius * step).clamp(0, 1)).copy is False


def test_the_rarer_a_stranger_may_be_the_nearer_must_a_copy_be(metric, image):
    found = [
        reference_rule(metric, image[None], RuleAsked(wrong=wrong))
        for wrong in (1e-2, 1e-4, 1e-6, 1e-9)
    ]
    distances = [one.threshold for one in found]
    assert distances == sorted(distances, reverse=True)
    assert [one.rule.counted for one in found] == [True, True, True, False]
    assert "1 in 1,000,000 is as near; " in found[2].words
    assert "(extrapolated)" in found[3].words


def test_a_reference_that_moves_takes_its_threshold_along(metric, image):
    reference = prepare(metric, image)
    asked = RuleAsked(wrong=1e-4)
    own = reference_rule(metric, image[None], asked)
    radii = {}
    for perturbed in ("candidate", "reference", "both"):
        said = compare_pair(
            metric, reference, image * 0.9, "b", eps=1.0, views=own.views, perturbed=perturbed
        )
        assert said.copy
        radii[perturbed] = said.radius
    one = reference_rule(metric, image[None], RuleAsked(threshold=own.threshold))
    assert (one.rule.weight, one.rule.background) == (0.0, None)
    fixed = compare_pair(
        metric, reference, image * 0.9, "b", eps=1.0, views=one.views, perturbed="candidate"
    )
    assert radii["candidate"] == pytest.approx(fixed.radius)
    assert 0 < radii["both"] < radii["reference"] < radii["candidate"]
    # Nothing within the radius turns it round: along the way to another picture.
    other = smooth_image(2, (60, 80))
    step = (other - image) / (other - image).norm() * 0.99 * radii["reference"]
    moved = prepare(metric, (image + step).double())
    likeness = reference_rule(metric, moved.image, asked)
    again = compare_pair(
        metric, moved, image * 0.9, "b", eps=1.0, views=likeness.views, perturbed="candidate"
    )
    assert again.copy


def test_a_metric_without_strangers_has_the_one_that_it_recommends(image):
    metric = create_metric("lipsim-tiny", checkpoint="random", device="cpu")
    with pytest.raises(ValueError, match="no table of strangers for weights of your own"):
        reference_rule(metric, image[None], RuleAsked(wrong=1e-3))
    assert reference_rule(metric, image[None]) is None
    found = reference_rule(metric, image[None], usual=0.4)
    assert (found.threshold, found.rule.wrong, found.words) == (0.4, None, None)


def test_one_threshold_for_all_is_had_by_name(metric, image):
    found = reference_rule(metric, image[None], RuleAsked(threshold="usual"), usual=0.68)
    assert (found.threshold, found.rule.weight) == (0.68, 0.0)
    with pytest.raises(ValueError, match="recommends none"):
        reference_rule(metric, image[None], RuleAsked(threshold="usual"))
    with pytest.raises(ValueError, match="found both"):
        reference_rule(metric, image[None], RuleAsked(threshold=0.5, wrong=1e-3))
    with pytest.raises(ValueError, match=r"number in \[0, 2\], found 2.5"):
        reference_rule(metric, image[None], RuleAsked(threshold=2.5))


def test_a_threshold_is_the_rule_at_a_likeness(metric, image):
    own = reference_rule(metric, image[None]).views[0].threshold
    nearer = dataclasses.replace(own, likeness=own.likeness + 0.1)
    assert own.distance - nearer.distance == pytest.approx(0.1 * own.rule.weight)
    assert torch.equal(own.vector, torch.tensor([own.likeness], dtype=torch.float64))
