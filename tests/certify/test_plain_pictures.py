"""What holds too little to be told from others is never a certified copy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from percert.certify.answers import ReferenceView, compare_pair, prepare
from percert.certify.features import pixel_features
from percert.certify.own_threshold import OwnThreshold, StoredThreshold
from percert.certify.pairs import copies_of_features
from percert.certify.sentences import comparison_sentences
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.metrics.certified.lipsim import LipSimTiny

RULE = Content(torch.eye(6, dtype=torch.float64)[:2], 2.0)
ROLES = ("reference", "candidate", "both")


def features(h, bound=0.5):
    return pixel_features(h, LipschitzBound(bound, "test"), content=RULE)


def pair(seed):
    generator = torch.Generator().manual_seed(seed)
    first = 4 * torch.randn(64, 6, generator=generator, dtype=torch.float64)
    return first, first + torch.randn(64, 6, generator=generator, dtype=torch.float64)


@given(st.integers(0, 2**31), st.sampled_from(ROLES))
def test_a_copy_is_certified_where_both_hold_enough_as_given(seed, perturbed):
    first, second = pair(seed)
    found = copies_of_features(features(first), features(second), 0.4, perturbed=perturbed)
    certified = found.decision & (found.radius > 0)
    enough = (RULE.margin(first) > 0) & (RULE.margin(second) > 0)
    assert bool(enough[certified].all())
    assert found.plain is not None
    assert torch.equal(found.plain, ~enough)


@given(st.integers(0, 2**31))
def test_taking_away_what_a_picture_holds_leaves_the_distance_within_the_threshold(seed):
    """The rule is on pictures as given; the proof of the distance needs it no longer."""
    first, second = pair(seed)
    found = copies_of_features(features(first), features(second), 0.4)
    outside = second.clone()
    outside[:, :2] = 0
    length = outside.norm(dim=1, keepdim=True)
    # 0.5 of an embedding a pixel, all of it along what lies outside the axes.
    moved = second - 0.5 * 0.999 * found.radius.clamp(max=1e3)[:, None] * outside / length
    certified = found.decision & (found.radius > 0)
    after = copies_of_features(features(first[certified]), features(moved[certified]), 0.4)
    assert bool(after.decision.all())


@given(st.integers(0, 2**31))
def test_the_rule_only_ever_takes_from_a_radius_and_from_copies_alone(seed):
    first, second = pair(seed)
    bound = LipschitzBound(0.5, "test")
    free = copies_of_features(pixel_features(first, bound), pixel_features(second, bound), 0.4)
    held = copies_of_features(features(first), features(second), 0.4)
    assert torch.equal(free.decision, held.decision)
    assert bool((held.radius <= free.radius).all())
    kept = held.decision & ~held.plain
    assert torch.equal(held.radius[kept], free.radius[kept])
    assert torch.equal(held.radius[~held.decision], free.radius[~held.decision])
    assert free.plain is not None
    assert not bool(free.plain.any())


def test_a_picture_that_holds_too_little_says_so():
    hollow = torch.tensor([[9.0, 9.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    found = copies_of_features(features(hollow), features(hollow), 0.4)
    assert found.decision.item()
    assert found.radius.item() == 0
    assert found.plain is not None
    assert found.plain.item()


@pytest.mark.parametrize("perturbed", ROLES)
def test_a_comparison_of_plain_pictures_is_undecided_and_says_why(perturbed):
    metric = LipSimTiny()
    black, white = torch.zeros(3, 70, 90), torch.ones(3, 70, 90)
    reference = prepare(metric, black)
    whole = ReferenceView("whole", reference.features, StoredThreshold(OwnThreshold(0.68, 0.0), 0))
    found = compare_pair(
        metric, reference, white, "w.png", eps=1, views=[whole], perturbed=perturbed
    )
    assert (found.copy, found.plain, found.radius) == (None, True, 0.0)
    said = comparison_sentences("b.png", found, "lipsim-tiny", "w.png")[0]
    assert said.tone == "plain"
    assert said.text.startswith("Undecided")
    assert "too little" in said.text
