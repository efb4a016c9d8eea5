"""MS-SSIM against a slow, obvious twin and against piq."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from percert.metrics.full_reference.ssim import MSSSIM, WEIGHTS, halve, ms_ssim, ms_ssim_distance


def photograph(size=(161, 161)):
    image = torch.from_numpy(data.astronaut()[: size[0], 100 : 100 + size[1]].copy())
    return image.permute(2, 0, 1)[None].double() / 255


def noisy(image, noise):
    generator = torch.Generator().manual_seed(0)
    step = noise * torch.randn(image.shape, generator=generator, dtype=image.dtype)
    return (image + step).clamp(0, 1)


def obvious_twin(reference, candidate):
    """One channel at a time, in numpy, as the paper has it."""
    similarities = []
    for x, y in zip(reference[0].numpy(), candidate[0].numpy(), strict=True):
        similarity = 1.0
        for scale, weight in enumerate(WEIGHTS):

            def blurred(image):
                return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

            mx, my = blurred(x), blurred(y)
            vx, vy, cov = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
            term = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
            if scale == 4:
                term *= (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            similarity *= max(term.mean(), 0) ** weight
            x, y = (
                np.pad(image, [(side % 2, 0) for side in image.shape], mode="edge")
                .reshape((image.shape[0] + 1) // 2, 2, (image.shape[1] + 1) // 2, 2)
                .mean((1, 3))
                for image in (x, y)
            )
        similarities.append(similarity)
    return float(np.mean(similarities))


@pytest.fixture
def piq_ms_ssim(piq_module):
    return piq_module("ms_ssim").multi_scale_ssim


@pytest.mark.parametrize("noise", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("size", [(161, 161), (162, 175), (200, 163)])
def test_agrees_with_the_obvious_twin(size, noise):
    reference = photograph(size)
    candidate = noisy(reference, noise)
    expected = obvious_twin(reference, candidate)
    assert ms_ssim(reference, candidate).item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("side", [161, 176, 191])
def test_agrees_with_piq_on_squares(piq_ms_ssim, side):
    # On other shapes piq pads both sides as soon as one is odd, which shifts the even one.
    reference = photograph((side, side))
    candidate = noisy(reference, 0.1)
    expected = piq_ms_ssim(reference, candidate, reduction="none").item()
    assert ms_ssim(reference, candidate).item() == pytest.approx(expected, abs=1e-10)


def test_halving_repeats_the_first_row_of_an_odd_side():
    image = torch.arange(15.0).view(1, 1, 3, 5)
    rows = torch.cat((image[:, :, :1], image), 2)
    padded = torch.cat((rows[..., :1], rows), 3)
    assert torch.equal(halve(image), halve(padded))
    assert halve(image).shape == (1, 1, 2, 3)


def test_opposite_structure_has_a_finite_gradient():
    # Negative terms, whose fractional power would be NaN.
    reference = photograph()
    candidate = (1 - reference).requires_grad_()
    distance = ms_ssim_distance(reference, candidate)
    distance.sum().backward()
    assert 0.9 < distance.item() <= 1
    assert candidate.grad.isfinite().all()


def test_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    reference = photograph()
    candidate = noisy(reference, 0.1).clamp(0.01, 0.99).requires_grad_()  # room for the step
    step = 1e-6 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(ms_ssim_distance(reference, candidate).sum(), candidate)
    with torch.no_grad():
        rise = ms_ssim_distance(reference, candidate + step)
        rise = rise - ms_ssim_distance(reference, candidate - step)
    assert rise.item() == pytest.approx(2 * (gradient * step).sum().item(), rel=1e-5)


def test_too_small_an_image_is_an_error():
    image = torch.rand(1, 3, 300, 160)
    with pytest.raises(ValueError, match="at least 161 x 161 pixels, found 300 x 160"):
        MSSSIM()(image, image)
