"""The distance to the safe cone's edge against its primal form and the cone's definition."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percert.certify.twoafc import cone_distance

from .feature_attacks import random_embeddings


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([3, 4, 32]),
    part=st.sampled_from([1e-6, 0.1, 0.5, 0.9]),
)
def test_equals_the_least_distance_to_a_tangent_plane(seed: int, k: int, part: float) -> None:
    v, left, right = random_embeddings(seed, 3, k)
    g0 = left / left.norm(dim=1, keepdim=True)
    g1 = right / right.norm(dim=1, keepdim=True)
    # Some nearly on top of the closer candidate, some not nearer to it at all.
    v = v / v.norm(dim=1, keepdim=True) + torch.linspace(0, 8, len(v)).double()[:, None] * g0
    half = ((g0 - g1).norm(dim=1) / 2).asin()
    s = 2 * half * part
    got = cone_distance(v, g0, g1, half, s)
    # The definition: inside means that the angles differ by more than s.
    g = v / v.norm(dim=1, keepdim=True)
    gap = (g * g1).sum(1).clamp(-1, 1).acos() - (g * g0).sum(1).clamp(-1, 1).acos()
    clear = (gap - s).abs() > 1e-6
    assert torch.equal((got > 0)[clear], (gap > s)[clear])
    assert 0 < (got > 0).float().mean() < 1
    # The primal: the least distance to the planes that touch the cone, over a grid of them.
    p, q = g0 + g1, g0 - g1
    p, q = p / p.norm(dim=1, keepdim=True), q / q.norm(dim=1, keepdim=True)
    x, y = (v * p).sum(1), (v * q).sum(1)
    z = (v - x[:, None] * p - y[:, None] * q).norm(dim=1)
    a = 1 - (half.cos() / (s / 2).cos()).square()
    b = (half.sin() / (s / 2).sin()).square() - 1
    t = torch.linspace(0, math.pi, 2001, dtype=torch.float64)[:, None]
    planes = b.sqrt() * y - a.sqrt() * x * t.cos() - z * t.sin()
    planes = planes / (b + a * t.cos().square() + t.sin().square()).sqrt()
    primal = planes.amin(dim=0)
    inside = (got > 1e-4 * v.norm(dim=1)) & clear
    # The grid of planes over-estimates, the dual never does.
    assert (got <= primal * (1 + 1e-9))[inside].all()
    torch.testing.assert_close(got[inside], primal[inside], rtol=1e-4, atol=0)


def test_opposite_candidates_leave_a_round_cone() -> None:
    """g_1 = -g_0: the safe set is the directions within pi/2 - s/2 of g_0."""
    g0 = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[3.0, 1.0, 1.0]], dtype=torch.float64)
    s = torch.tensor([0.6], dtype=torch.float64)
    half = torch.tensor([math.pi / 2], dtype=torch.float64)
    theta = math.atan2(math.sqrt(2), 3.0)
    wanted = math.sqrt(11) * math.sin(math.pi / 2 - 0.3 - theta)
    got = cone_distance(v, g0, -g0, half, s)
    assert math.isclose(got.item(), wanted, rel_tol=1e-9)
