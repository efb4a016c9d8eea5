"""Thresholds of each stored image's own: closed forms, and attacks on random embeddings."""

import math

import pytest
import torch
from torch import Tensor

from percert.certify import OwnThreshold, copies_of_features, likeness, own_copies_of_features

from .feature_attacks import cosine_distance, direction, features, least, random_embeddings

MOVERS = {"query": (1, 0), "stored": (0, 1), "both": (1, 1)}
RULE = OwnThreshold(0.7, weight=0.5)


def background(k: int) -> Tensor:
    """Rows of length 1 at most, one of them short."""
    drawn = random_embeddings(7, 1, k, batch=6)[0]
    rows = drawn / drawn.norm(dim=1, keepdim=True)
    return rows * torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.6], dtype=torch.float64)[:, None]


@pytest.mark.parametrize("perturbed", list(MOVERS))
@pytest.mark.parametrize(
    ("seed", "k", "c"), [(0, 3, 0.0), (1, 16, 0.0), (2, 16, 1.0), (3, 64, 0.1)]
)
def test_no_attack_moves_a_decision_inside_its_radius(
    perturbed: str, seed: int, k: int, c: float
) -> None:
    query, stored = random_embeddings(seed, 2, k)
    rows = background(k + (c > 0))
    made = [features(h, c) for h in (query, stored)]
    b = likeness(made[1], rows)
    certificate = own_copies_of_features(*made, RULE, b, perturbed=perturbed)
    decision = certificate.decision
    assert torch.equal(decision, cosine_distance(query, stored, c) <= 0.7 - 0.5 * b)
    assert decision.any()
    assert not decision.all()

    def room(x: Tensor, y: Tensor) -> Tensor:
        own = (direction(y, c)[:, : rows.shape[1]] @ rows.T).amax(-1)
        value = 0.7 - 0.5 * own - cosine_distance(x, y, c)
        return torch.where(decision, value, -value)

    radius = certificate.radius.clamp_max(1e3)
    assert (radius > 0).double().mean() > 0.9
    inside = [0.999 * radius * moves for moves in MOVERS[perturbed]]
    assert (least(room, [query, stored], inside) > -1e-9).all()
    # The bound is worth having: most decisions flip at twice the radius.
    beyond = [2 * radius * moves for moves in MOVERS[perturbed]]
    assert (least(room, [query, stored], beyond)[radius < 1e3] < 0).double().mean() > 0.5


def test_a_query_that_moves_alone_meets_a_fixed_threshold() -> None:
    query, stored = (features(h) for h in random_embeddings(4, 2, 8))
    b = likeness(stored, background(8))
    own = own_copies_of_features(query, stored, RULE, b)
    for row in range(5):
        one = slice(row, row + 1)
        plain = copies_of_features(
            query.rows(one), stored.rows(one), float(0.7 - 0.5 * b[row]), perturbed="reference"
        )
        assert plain.decision.item() == own.decision[row].item()
        assert plain.radius.item() == pytest.approx(own.radius[row].item(), rel=1e-9)


def test_without_weight_the_stored_image_meets_one_threshold_for_all() -> None:
    query, stored = (features(h) for h in random_embeddings(5, 2, 8))
    b = likeness(stored, background(8))
    for which, same in (("stored", "candidate"), ("both", "both")):
        own = own_copies_of_features(query, stored, OwnThreshold(0.4, 0.0), b, perturbed=which)
        plain = copies_of_features(query, stored, 0.4, perturbed=same)
        assert torch.equal(own.radius, plain.radius)


def test_what_resembles_everything_gets_a_strict_threshold() -> None:
    rows = torch.eye(3)[:2].double()
    stored = features(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double())
    found = RULE.distances(likeness(stored, rows))
    assert found.tolist() == pytest.approx([0.2, 0.7])
    assert math.isclose(float(OwnThreshold(0.4).distances(torch.tensor([1.0]))), 0.0)


def test_coordinates_along_axes_say_the_same() -> None:
    axes, places = torch.linalg.qr(torch.randn(8, 3).double())[0].T, background(3)
    one = features(random_embeddings(6, 1, 8)[0])
    assert torch.allclose(likeness(one, places, axes), likeness(one, places @ axes), atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (torch.eye(4), "rows of 3 values"),
        (torch.zeros(0, 3), "rows of 3 values"),
        (1.1 * torch.eye(3), "longer"),
        (torch.full((1, 3), torch.nan), "longer"),
    ],
)
def test_a_background_that_proves_nothing_is_refused(rows: Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        likeness(features(torch.ones(1, 3).double()), rows)


def test_a_rule_out_of_range_is_refused() -> None:
    for distance, weight in ((0.3, -0.1), (0.3, 1.5), (math.nan, 0.5), (3.1, 0.5), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="expected a number"):
            OwnThreshold(distance, weight)
