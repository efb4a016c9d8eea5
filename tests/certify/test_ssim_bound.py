"""SSIM's constant given one image: never left, nearly attained by textures, broken when halved."""

import pytest
import torch

from percert.certify import ssim_bound
from percert.certify.ssim_bound import ssim_constant, ssim_interval
from percert.metrics.full_reference.ssim import ssim_distance


def drawn(seed, side=24, blurred=0):
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed)).double()
    for _ in range(blurred):
        picture = torch.nn.functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)
    return picture


def climbed(reference, start, eps, sign, steps=40):
    """The most that gradient steps within l2 ``eps`` of ``start`` move the distance."""
    change = torch.zeros_like(start)
    best = 0.0
    before = ssim_distance(reference, start).item()
    for step in range(steps):
        change.requires_grad_(True)
        value = ssim_distance(reference, start + change).sum()
        (slope,) = torch.autograd.grad(value, change)
        length = eps if step == 0 else eps / 4
        change = change.detach() + sign * length * slope / slope.norm().clamp_min(1e-30)
        change = change * (eps / change.norm().clamp_min(eps))
        change = (start + change).clamp(0, 1) - start  # no longer, and SSIM takes no other images
        best = max(best, sign * (ssim_distance(reference, start + change).item() - before))
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eps", [0.01, 0.3, 3.0])
def test_no_climb_leaves_the_interval(seed, eps):
    reference = drawn(seed, blurred=seed) * (0.1 if seed == 3 else 1.0)
    starts = [reference, reference.mean().expand_as(reference), drawn(seed + 9), 0 * reference]
    for start in starts:
        found = ssim_interval(reference, start, eps)
        for sign in (1, -1):
            moved = found.distance.item() + sign * climbed(reference, start, eps, sign)
            assert found.lower.item() - 1e-12 <= moved <= found.upper.item() + 1e-12


def gradient(reference, candidate):
    candidate = candidate.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(ssim_distance(reference, candidate).sum(), candidate)
    return slope.norm().item()


@pytest.mark.parametrize("contrast", [0.2, 0.5, 1.0])
def test_a_texture_beside_a_grey_image_nearly_attains_it(contrast):
    """There every window's structure term pulls a pixel the same way."""
    reference = 0.5 + contrast * (drawn(0, side=72) - 0.5)
    found = gradient(reference, torch.full_like(reference, 0.5))
    bound = ssim_constant(reference).item()
    assert 0.75 * bound < found <= bound


def test_half_of_it_is_broken(monkeypatch):
    """The gate sees a lost factor: with half of the constant a step leaves the interval."""
    reference = 0.5 + 0.2 * (drawn(0, side=72) - 0.5)
    start, eps = torch.full_like(reference, 0.5), 0.01
    moved = climbed(reference, start, eps, -1, steps=3)
    assert moved <= ssim_constant(reference).item() * eps
    real = ssim_bound._steepest
    monkeypatch.setattr(ssim_bound, "_steepest", lambda square, c: real(square, c) / 4)
    assert moved > ssim_constant(reference).item() * eps


def test_the_bound_of_one_term_is_never_below_its_gradient():
    """Over a grid of a, b and C: the closed form against autograd."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 3, generator=generator).double() * torch.logspace(-4, 0, 4000)[:, None]
    b = (
        torch.randn(4000, 3, generator=generator).double()
        * torch.logspace(-4, 0, 4000)[torch.randperm(4000, generator=generator), None]
    )
    b.requires_grad_(True)
    c = 0.03**2
    value = (2 * (a * b).sum(1) + c) / ((a**2).sum(1) + (b**2).sum(1) + c)
    (slope,) = torch.autograd.grad(value.sum(), b)
    assert (slope.norm(dim=1) <= ssim_bound._steepest((a**2).sum(1), c).sqrt() + 1e-12).all()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="sides of at least 11"):
        ssim_constant(torch.rand(1, 3, 8, 20))
    with pytest.raises(ValueError, match="eps"):
        ssim_interval(torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12), -1.0)
