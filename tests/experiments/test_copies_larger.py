"""Two networks as one: as certified as either, and at the circle's ends either of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from experiments.copies.embedded import EmbeddedSet
from experiments.copies.larger import Both
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import LipSimBase, LipSimTiny

SIZE = (90, 120)


def sets(metric: EmbeddingMetric, images: torch.Tensor) -> Any:
    """What copies.rules' sets say of ``images``."""
    rows = metric.embed(images).detach().numpy()[:, None]
    held = EmbeddedSet(rows, np.array([SIZE] * len(rows)))
    return SimpleNamespace(
        metric=metric, certified=lambda name: held, certified_edit=lambda e: held
    )


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_no_tamper_moves_both_as_one_further_than_the_bound(degrees: float) -> None:
    generator = torch.Generator().manual_seed(0)
    images = 0.3 + 0.4 * torch.rand(4, 3, *SIZE, generator=generator, dtype=torch.float64)
    tamper = torch.randn(4, 3, *SIZE, generator=generator, dtype=torch.float64)
    tamper *= 3 / tamper.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    # What networks that average see best is flat.
    tamper[2:] = 3 / (3 * SIZE[0] * SIZE[1]) ** 0.5 * torch.tensor([1.0, -1.0]).view(-1, 1, 1, 1)
    metrics = LipSimTiny(), LipSimBase()
    before, after = (
        Both(*(sets(metric, some) for metric in metrics), degrees)
        for some in (images, images + tamper)
    )
    moved = after.certified("").rows - before.certified("").rows
    length = np.linalg.norm(moved[:, 0], axis=1)
    bound = before.metric.bound(SIZE).value
    assert (length > 0).all()
    assert (length <= 3 * bound * (1 + 1e-6)).all()
    assert before.metric.content is None


@pytest.mark.parametrize(("degrees", "first"), [(0, True), (90, False)])
def test_at_its_ends_the_circle_is_either_network(degrees: float, first: bool) -> None:
    images = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    metrics = LipSimTiny(), LipSimBase()
    both = Both(*(sets(metric, images) for metric in metrics), degrees)
    own = metrics[0 if first else 1]
    rows = both.certified("").rows[:, 0]
    part = rows[:, :1024] if first else rows[:, 1024:]
    scale = both.metric.bound(SIZE).value / own.bound(SIZE).value
    np.testing.assert_allclose(
        part, scale * own.embed(images).detach().numpy(), rtol=1e-3, atol=1e-5
    )
    assert both.metric.float_error(SIZE) == pytest.approx(scale * own.float_error(SIZE), rel=1e-3)
