"""SSIM against scikit-image, its closed forms, and finite differences."""

import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity

from percert.metrics.full_reference.ssim import C1, SSIM, ssim, ssim_distance


def photograph(size=(64, 80)):
    image = torch.from_numpy(data.astronaut()[: size[0], 100 : 100 + size[1]].copy())
    return image.permute(2, 0, 1)[None].double() / 255


def scikit_image_ssim(reference, candidate):
    return structural_similarity(
        reference[0].permute(1, 2, 0).numpy(),
        candidate[0].permute(1, 2, 0).numpy(),
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )


@pytest.mark.parametrize("size", [(11, 11), (12, 31), (64, 80)])
@pytest.mark.parametrize("noise", [0.001, 0.05, 0.5])
def test_agrees_with_scikit_image(size, noise):
    generator = torch.Generator().manual_seed(0)
    reference = photograph(size)
    step = noise * torch.randn(reference.shape, generator=generator, dtype=reference.dtype)
    candidate = (reference + step).clamp(0, 1)
    expected = scikit_image_ssim(reference, candidate)
    assert ssim(reference, candidate).item() == pytest.approx(expected, abs=1e-10)
    assert ssim(reference.float(), candidate.float()).item() == pytest.approx(expected, abs=2e-5)


def test_constant_images_leave_the_luminance_term_alone():
    dark, light = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + C1) / (0.2**2 + 0.6**2 + C1)
    assert ssim(dark, light).item() == pytest.approx(expected, abs=1e-4)


def test_inverted_texture_has_a_negative_similarity():
    texture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert ssim(texture, 1 - texture).item() < -0.5
    assert SSIM()(texture, 1 - texture).item() > 1.5


def test_float32_resolves_a_change_of_a_thousandth_of_a_grey_level():
    reference = photograph()
    candidate = reference + 4e-6 * torch.sign(reference - 0.5)
    exact = ssim_distance(reference, candidate).item()
    assert 0 < exact < 1e-6
    # 1 - ssim in float32 would be a multiple of 6e-8.
    assert ssim_distance(reference.float(), candidate.float()).item() == pytest.approx(
        exact, rel=0.05
    )


def test_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 1, 3, 12, 12, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        SSIM(), (a.requires_grad_(), b.requires_grad_()), fast_mode=True, check_batched_grad=True
    )


def test_half_precision_is_computed_in_float32():
    reference = photograph().to(torch.bfloat16)
    distance = SSIM()(reference, (0.9 * reference).to(torch.bfloat16))
    assert distance.dtype == torch.float32
    assert 0 < distance.item() < 0.1


def test_too_small_an_image_is_an_error():
    with pytest.raises(ValueError, match="ssim: expected images of at least 11 x 11 pixels"):
        ssim(torch.rand(1, 3, 10, 40), torch.rand(1, 3, 10, 40))
