"""Lp balls: projections are optimal, and what is within is decided by the norm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.attacks import LpBall, MetricBall, Unbounded
from percert.attacks.steps import random_point, steepest
from percert.attacks.threat import length, project_l1
from percert.metrics.certified.lipsim import Thumbnail

NORMS = ("l1", "l2", "linf")


def pair(seed: int, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(count, 3, 4, 4, generator=generator)
    far = reference + torch.randn(count, 3, 4, 4, generator=generator)
    return reference, far


def test_lengths():
    change = torch.tensor([[[[3.0, -4.0]]], [[[0.0, 1.0]]]]).expand(2, 3, 1, 2)
    assert length(change, "l1").tolist() == [21, 3]
    assert length(change, "l2").tolist() == pytest.approx([75**0.5, 3**0.5])
    assert length(change, "linf").tolist() == [4, 1]


@given(seed=st.integers(0, 10_000), eps=st.floats(1e-4, 5), norm=st.sampled_from(NORMS))
@settings(max_examples=40)
def test_a_projection_is_in_the_ball_and_in_the_box(seed, eps, norm):
    reference, far = pair(seed)
    ball = LpBall(norm, eps)
    inside = ball.project(reference, far)
    assert ball.within(reference, inside).all()
    assert 0 <= inside.min() <= inside.max() <= 1
    torch.testing.assert_close(ball.project(reference, inside), inside, rtol=0, atol=1e-5)


@given(seed=st.integers(0, 10_000), radius=st.floats(0.01, 30))
@settings(max_examples=30)
def test_the_l1_projection_is_the_nearest_point(seed, radius):
    """Optimal: p lies in the ball, and <x - p, q - p> <= 0 for each of its vertices q."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 10, generator=generator).double()
    p = project_l1(x, torch.full((3,), radius, dtype=torch.float64))
    assert (p.abs().sum(1) <= radius * (1 + 1e-9)).all()
    vertices = radius * torch.cat([torch.eye(10), -torch.eye(10)]).double()
    worst = ((x - p)[:, None] * (vertices - p[:, None])).sum(2).amax(1)
    assert (worst <= 1e-7 * (1 + radius)).all()
    inside = x.abs().sum(1) <= radius
    assert torch.equal(p[inside], x[inside])


def test_the_l1_projection_of_images_that_are_channels_last():
    _, far = pair(1)
    radius = torch.full((4,), 2.0)
    wanted = project_l1(far, radius)
    got = project_l1(far.contiguous(memory_format=torch.channels_last), radius)
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_inside_the_box_the_projection_is_the_nearest_point(norm):
    """No random point of the ball is nearer in l2 (the clamp of linf is nearest in every norm)."""
    reference = torch.full((1, 3, 2, 2), 0.5)
    ball = LpBall(norm, 0.2)
    generator = torch.Generator().manual_seed(0)
    far = reference + 0.4 * torch.randn(1, 3, 2, 2, generator=generator)
    nearest = length(far - ball.project(reference, far), "l2")
    others = ball.project(
        reference.expand(500, -1, -1, -1),
        reference + 0.4 * torch.randn(500, 3, 2, 2, generator=generator),
    )
    assert (length(far - others, "l2") >= nearest - 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_within_is_decided_by_the_norm(norm):
    reference = torch.full((2, 3, 2, 2), 0.5)
    candidate = reference.clone()
    candidate[:, 0, 0, 0] += torch.tensor([0.1, 0.1002])
    assert LpBall(norm, 0.1).within(reference, candidate).tolist() == [True, False]
    assert LpBall(norm, 0.0).within(reference, reference).all()


def test_balls_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="norm: expected one of 'l1', 'l2', 'linf', found 'l3'"):
        LpBall("l3", 1.0)
    for eps in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="eps: expected a finite number of at least 0"):
            LpBall("l2", eps)


def test_a_metric_ball_asks_its_metric():
    metric = Thumbnail(8)
    reference, far = pair(2)
    candidate = far.clamp(0, 1)
    distance = metric(reference, candidate)
    eps = float(distance.median())
    within = MetricBall(metric, eps).within(reference, candidate)
    assert torch.equal(within, distance <= eps * (1 + 1e-5))
    assert within.any()
    assert not within.all()
    assert Unbounded().within(reference, candidate).all()


@given(seed=st.integers(0, 10_000), norm=st.sampled_from(("l2", "linf")))
@settings(max_examples=30)
def test_no_direction_of_unit_length_is_steeper(seed, norm):
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(2, 3, 2, 2, generator=generator)
    best = steepest(slope, norm)
    assert torch.allclose(length(best, norm), torch.ones(2))
    other = torch.randn(2, 3, 2, 2, generator=generator)
    other /= length(other, norm)[:, None, None, None]
    gain = (slope * best).flatten(1).sum(1)
    assert (gain >= (slope * other).flatten(1).sum(1) - 1e-6).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_steps_are_finite_whatever_the_slope(norm):
    slope = torch.zeros(5, 3, 2, 2)
    slope[1, 0, 0, 0], slope[1, 1, 0, 0] = torch.nan, 2.0
    slope[2] = torch.inf
    slope[3] = 1e-30  # its squares are 0 in float32
    slope[4] = 3e38  # and these overflow
    unit = steepest(slope, norm)
    assert unit.isfinite().all()
    assert torch.allclose(length(unit, norm), torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_random_points_fill_the_ball_evenly(norm):
    """In d dimensions a share r^d of the ball lies within r: so r^d is uniform."""
    count = 2000
    images = torch.full((count, 3, 1, 1), 0.5)
    sources = [torch.Generator().manual_seed(seed) for seed in range(count)]
    points = random_point(images, norm, torch.full((count,), 0.4), sources)
    share = (length(points - images, norm) / 0.4) ** 3
    assert share.max() <= 1 + 1e-5
    quantiles = torch.linspace(0.1, 0.9, 9)
    assert (share.quantile(quantiles) - quantiles).abs().max() < 0.05
    assert (points - images).mean(0).abs().max() < 0.02
