"""PSNR against scikit-image, and its distance against the decibels."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from percert.metrics.psnr import PSNR, psnr_db


def pairs(n=4):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, n, 3, 9, 7, generator=generator, dtype=torch.float64)


def test_agrees_with_scikit_image():
    reference, candidate = pairs()
    expected = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1.0)
        for a, b in zip(reference, candidate, strict=True)
    ]
    assert psnr_db(reference, candidate).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_distance_is_ten_to_the_minus_tenth_of_the_decibels():
    reference, candidate = pairs()
    expected = 10 ** (-psnr_db(reference, candidate) / 10)
    torch.testing.assert_close(PSNR()(reference, candidate), expected)


def test_decibels_follow_from_the_l2_length():
    reference, candidate = pairs(1)
    length = (reference - candidate).norm().item()
    expected = 20 * math.log10(math.sqrt(3 * 9 * 7) / length)
    assert psnr_db(reference, candidate).item() == pytest.approx(expected, rel=1e-12)


def test_equal_images_have_infinite_decibels_and_distance_zero():
    image = torch.rand(1, 3, 5, 5)
    assert psnr_db(image, image).item() == math.inf
    assert PSNR()(image, image).item() == 0


def test_gradient_is_that_of_finite_differences():
    a, b = pairs(1)
    assert torch.autograd.gradcheck(PSNR(), (a.requires_grad_(), b.requires_grad_()))
