"""Thumbnails: what they average, what they ignore, how far their copies are certified."""

import pytest
import torch
from skimage import data

from percert.metrics.certified.lipsim import Thumbnail


def photograph(side=128):
    image = torch.from_numpy(data.chelsea()[:, 60:360].copy()).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(image, (side, side), mode="area")


def test_the_embedding_is_the_centred_average_of_each_rectangle():
    image = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0)).double()
    blocks = image.view(2, 3, 8, 3, 8, 5).mean((3, 5))
    expected = (blocks - blocks.mean((2, 3), keepdim=True)).flatten(1)
    torch.testing.assert_close(Thumbnail(8).embed(image), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("side", [8, 16])
def test_the_network_is_an_orthogonal_projection(side):
    network = Thumbnail(side).network
    size = 3 * side**2
    matrix = network(torch.eye(size, dtype=torch.float64).view(size, 3, side, side))
    torch.testing.assert_close(matrix @ matrix, matrix)
    torch.testing.assert_close(matrix, matrix.T)
    assert network.lipschitz_bound().value == 1


@pytest.mark.parametrize("size", [(8, 8), (17, 40), (5, 6), (64, 48)])
def test_the_bound_holds_and_is_reached_up_to_the_mean(size):
    metric = Thumbnail(8)
    image = torch.full((1, 3, *size), 0.5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(metric.embed, image).reshape(192, -1)
    exact = torch.linalg.matrix_norm(jacobian, 2).item()
    bound = metric.bound(size).value
    # Subtracting the mean can take the largest direction away, never add one.
    assert exact <= bound * (1 + 1e-12)
    assert exact >= 0.9 * bound


def test_an_8_pixel_image_is_not_resized():
    assert Thumbnail(8).bound((8, 8)).value == 1.0


def test_a_uniform_change_of_colour_is_ignored():
    image = 0.8 * photograph()
    cast = image + torch.tensor([0.1, 0.02, 0.05]).view(3, 1, 1)
    assert Thumbnail(8)(image, cast).item() < 1e-9


def test_images_without_contrast_are_equal_and_do_not_move():
    metric = Thumbnail(8)
    grey, red = torch.full((1, 3, 37, 53), 0.3), torch.zeros(1, 3, 37, 53)
    red[:, 0] = 0.7
    assert metric.embed(red).norm().item() < 1e-12
    assert metric(grey, red).item() < 1e-12


def test_the_stated_float_error_holds_down_to_a_thousandth_of_a_grey_level_of_contrast():
    metric = Thumbnail(8)
    image = (0.5 + 4e-6 * (photograph().double() - 0.5)).float()
    exact = metric.embed(image.double())
    error = (metric.embed(image) - exact).norm() / exact.norm()
    assert error.item() <= metric.feature_error


def test_a_mirrored_photograph_is_far_and_a_noisy_one_near():
    metric, image = Thumbnail(8), photograph()
    noisy = image + 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert metric(image, noisy.clamp(0, 1)).item() < 0.01
    assert metric(image, image.flip(3)).item() > 0.2


def test_the_embedding_is_long_in_pixels():
    image = photograph(299)
    metric = Thumbnail(8)
    # CERTIFICATES.md: n about 85 on photographs at 299 px, which is what certifies copies far out.
    assert 30 < (metric.embed(image).norm() / metric.bound((299, 299)).value).item() < 200
