"""The auditor's attack is a real one: beyond the radius it flips what it may not flip inside."""

import pytest
import torch

from percert.audit.attacks import ascend, attack_certificates
from percert.certify import twoafc
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import Thumbnail
from percert.tensors import l2_norm


def test_ascent_stays_inside_ball_and_range_and_reaches_the_top_of_a_linear_function() -> None:
    images = torch.full((2, 3, 8, 8), 0.5)
    direction = torch.randn(3, 8, 8)
    radius = torch.tensor([0.5, 0.0])
    generator = torch.Generator().manual_seed(0)
    moved = ascend(
        lambda x: (x * direction).sum((1, 2, 3)), images, radius, steps=5, generator=generator
    )
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (l2_norm(moved - images) <= radius + 1e-6).all()
    gain = ((moved - images)[0] * direction).sum()
    assert gain >= 0.95 * 0.5 * direction.norm()


def test_nothing_flips_inside_and_most_flips_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Thumbnail(8)
    images = (0.3 + 0.4 * torch.rand(6, 3, 24, 24)).double()
    generator = torch.Generator().manual_seed(0)
    inside = attack_certificates(metric, images, steps=20, generator=generator)
    assert inside.tried == 12
    assert inside.flipped == 0
    # The same attack at 1.2 of the radius, where the linear metric's exact radii must give way.
    monkeypatch.setattr("percert.audit.attacks.INSIDE", 1.2)
    beyond = attack_certificates(metric, images, steps=20, generator=generator)
    assert beyond.flipped >= 8


def test_an_overstated_norm_is_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that claims a bound five times too small has radii that an attack goes through."""
    metric = Thumbnail(8)
    honest = EmbeddingMetric.bound

    def wishful(self: EmbeddingMetric, size: tuple[int, int]) -> object:
        bound = honest(self, size)
        return type(bound)(bound.value / 5, "wishful", bound.resolution)

    monkeypatch.setattr(EmbeddingMetric, "bound", wishful)
    images = (0.3 + 0.4 * torch.rand(3, 3, 24, 24)).double()
    assert twoafc(metric, images, images.roll(1, 0), images.roll(2, 0)).radius.max() > 0
    found = attack_certificates(
        metric, images, steps=10, generator=torch.Generator().manual_seed(0)
    )
    assert found.flipped > 0
