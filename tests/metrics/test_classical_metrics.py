"""GMSD, MDSI, HaarPSI and FSIM: piq as the oracle, digits near identity, finite differences."""

import pytest
import torch
from skimage import data

from percert.metrics.full_reference.fsim import fsim_distance, phase_congruency
from percert.metrics.full_reference.gradient_deviation import gmsd, mdsi
from percert.metrics.full_reference.haarpsi import haarpsi_distance

DISTANCES = {"gmsd": gmsd, "mdsi": mdsi, "haarpsi": haarpsi_distance, "fsim": fsim_distance}
#: How far from piq: FSIM differs by what keeps flat areas quiet.
TOLERANCE = {"gmsd": 1e-10, "mdsi": 1e-9, "haarpsi": 1e-10, "fsim": 2e-6}
name = pytest.mark.parametrize("name", DISTANCES)


def photograph(size=(64, 80)):
    image = torch.from_numpy(data.astronaut()[: size[0], 100 : 100 + size[1]].copy())
    return image.permute(2, 0, 1)[None].double() / 255


def noisy(image, noise):
    generator = torch.Generator().manual_seed(0)
    step = noise * torch.randn(image.shape, generator=generator, dtype=image.dtype)
    return (image + step).clamp(0, 1)


@name
@pytest.mark.parametrize("size", [(64, 80), (63, 80), (41, 41), (400, 390)])
@pytest.mark.parametrize("noise", [0.001, 0.05, 0.5])
def test_agrees_with_piq(piq_module, name, size, noise):
    reference = photograph(size)
    candidate = noisy(reference, noise)
    # piq's first argument is the distorted image, which matters to MDSI alone.
    expected = getattr(piq_module(name), name)(candidate, reference, reduction="none").item()
    if name in ("haarpsi", "fsim"):
        expected = 1 - expected
    found = DISTANCES[name](reference, candidate)
    assert found.item() == pytest.approx(expected, abs=TOLERANCE[name])
    single = DISTANCES[name](reference.float(), candidate.float())
    assert single.item() == pytest.approx(expected, rel=1e-2)


@name
def test_gradient_is_that_of_piq(piq_module, name):
    reference, candidate = photograph((48, 50)), noisy(photograph((48, 50)), 0.05)
    theirs, ours = candidate.clone().requires_grad_(), candidate.clone().requires_grad_()
    value = getattr(piq_module(name), name)(theirs, reference)
    (value if name in ("gmsd", "mdsi") else -value).backward()
    DISTANCES[name](reference, ours).backward()
    largest = theirs.grad.abs().max().item()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4 * largest)


@name
def test_gradient_is_that_of_finite_differences(name):
    reference = photograph((24, 25))
    candidate = noisy(reference, 0.05).clamp(0.01, 0.99).requires_grad_()
    step = 1e-7 * torch.randn(reference.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(DISTANCES[name](reference, candidate).sum(), candidate)
    with torch.no_grad():
        rise = DISTANCES[name](reference, candidate + step)
        rise = rise - DISTANCES[name](reference, candidate - step)
    assert rise.item() == pytest.approx(2 * (gradient * step).sum().item(), rel=1e-4)


@name
def test_float32_resolves_a_change_of_a_hundredth_of_a_grey_level(name):
    reference = photograph().float()
    candidate = reference + 4e-5 * torch.sign(reference - 0.5)
    exact = DISTANCES[name](reference.double(), candidate.double()).item()
    assert exact > 0
    assert DISTANCES[name](reference, candidate).item() == pytest.approx(exact, rel=0.05)


@name
def test_too_small_an_image_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name}: expected images of at least"):
        DISTANCES[name](torch.rand(1, 3, 2, 40), torch.rand(1, 3, 2, 40))


def test_negative_similarities_have_complex_roots(piq_module):
    # Opposite strong colours without edges: the chroma term is near -1, so all of it is negative.
    reference, candidate = torch.zeros(2, 1, 3, 32, 32, dtype=torch.float64)
    reference[:, 0], candidate[:, 1] = 1, 0.5
    reference[..., ::5, :] = 0.3
    expected = piq_module("mdsi").mdsi(candidate, reference).item()
    assert mdsi(reference, candidate).item() == pytest.approx(expected, rel=1e-6)


def test_phase_congruency_is_high_at_edges_of_any_contrast_and_zero_where_flat():
    step = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    step[..., 32:] = 1
    strong, weak = phase_congruency(255 * step), phase_congruency(20 * step)
    torch.testing.assert_close(strong, weak, rtol=1e-3, atol=1e-3)
    assert strong[0, 0, 32, 31] > 3 * strong[0, 0, 32, 23]
    assert phase_congruency(torch.zeros(1, 1, 32, 32)).max() == 0
    assert phase_congruency(torch.full((1, 1, 32, 32), 255.0)).max() < 0.3


def test_phase_congruency_turns_with_the_image():
    plane = 255 * photograph((63, 63))[:, :1]  # an even side has -1/2 but not 1/2
    turned = phase_congruency(plane.mT)
    torch.testing.assert_close(turned, phase_congruency(plane).mT)
