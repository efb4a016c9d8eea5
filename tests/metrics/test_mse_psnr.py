"""PSNR against scikit-image, and its distance against the decibels."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from percert.metrics import create_metric, psnr
from percert.metrics.full_reference.pixel_errors import MSE, PSNR


def pairs(n=4):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, n, 3, 9, 7, generator=generator, dtype=torch.float64)


def test_agrees_with_scikit_image():
    reference, candidate = pairs()
    expected = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1.0)
        for a, b in zip(reference, candidate, strict=True)
    ]
    assert psnr(reference, candidate).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_distance_is_ten_to_the_minus_tenth_of_the_decibels():
    reference, candidate = pairs()
    expected = 10 ** (-psnr(reference, candidate) / 10)
    torch.testing.assert_close(MSE()(reference, candidate), expected)


def test_decibels_follow_from_the_l2_length():
    reference, candidate = pairs(1)
    length = (reference - candidate).norm().item()
    expected = 20 * math.log10(math.sqrt(3 * 9 * 7) / length)
    assert psnr(reference, candidate).item() == pytest.approx(expected, rel=1e-12)


def test_equal_images_have_infinite_decibels_and_distance_zero():
    image = torch.rand(1, 3, 5, 5)
    assert psnr(image, image).item() == math.inf
    assert MSE()(image, image).item() == 0


def test_gradient_is_that_of_finite_differences():
    a, b = pairs(1)
    assert torch.autograd.gradcheck(MSE(), (a.requires_grad_(), b.requires_grad_()))


def test_psnr_is_in_decibels_and_no_metric():
    """A mean squared error of 1e-3 is 30 dB; by that name the catalog says where to look."""
    grey = torch.full((1, 3, 4, 4), 0.5)
    moved = grey + 1e-3**0.5
    assert psnr(grey, moved).item() == pytest.approx(30.0, abs=1e-4)
    assert PSNR()(grey, moved).item() == psnr(grey, moved).item()
    assert create_metric("mse", device="cpu")(grey, moved).item() == pytest.approx(1e-3)
    with pytest.raises(ValueError, match=r"'psnr' is in decibels and no distance .*'mse'"):
        create_metric("psnr")
