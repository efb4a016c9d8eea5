"""sRGB, XYZ and CIELAB against scikit-image, known colours, and their own inverses."""

import pytest
import torch
from skimage import color

from percert.color import (
    lab_to_srgb,
    lab_to_xyz,
    linear_to_srgb,
    linear_to_xyz,
    srgb_to_lab,
    srgb_to_linear,
    xyz_to_lab,
    xyz_to_linear,
)

#: Every combination of 9 levels, black, white and the primaries among them.
LEVELS = torch.linspace(0, 1, 9, dtype=torch.float64)
COLOURS = torch.cartesian_prod(LEVELS, LEVELS, LEVELS).T.reshape(1, 3, 27, 27)


def last(images):
    return images[0].permute(1, 2, 0).numpy()


def test_lab_is_scikit_images_up_to_the_digits_of_its_matrix():
    expected = torch.from_numpy(color.rgb2lab(last(COLOURS))).permute(2, 0, 1)[None]
    # scikit-image has six digits where the standard has four, and its greys are not quite neutral.
    assert (srgb_to_lab(COLOURS) - expected).abs().max().item() < 0.05


def test_xyz_to_lab_is_scikit_images():
    xyz = linear_to_xyz(srgb_to_linear(COLOURS))
    white = (0.95047, 1.0, 1.08883)
    expected = torch.from_numpy(color.xyz2lab(last(xyz))).permute(2, 0, 1)[None]
    torch.testing.assert_close(xyz_to_lab(xyz, white), expected, rtol=1e-4, atol=1e-4)
    back = torch.from_numpy(color.lab2xyz(last(expected))).permute(2, 0, 1)[None]
    torch.testing.assert_close(lab_to_xyz(expected, white), back, rtol=1e-4, atol=1e-5)


def test_every_grey_is_neutral_and_white_is_100():
    grey = LEVELS.view(1, 1, 1, -1).expand(1, 3, 1, -1)
    lab = srgb_to_lab(grey)
    assert lab[:, 1:].abs().max().item() < 1e-12
    assert lab[0, 0, 0, 0].item() == pytest.approx(0, abs=1e-12)
    assert lab[0, 0, 0, -1].item() == pytest.approx(100)


def test_the_standards_own_example_of_the_curve():
    # IEC 61966-2-1: half the light is at 0.735, and 18 % grey at 0.461.
    assert linear_to_srgb(torch.tensor(0.5)).item() == pytest.approx(0.735, abs=5e-4)
    assert linear_to_srgb(torch.tensor(0.18)).item() == pytest.approx(0.461, abs=5e-4)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (srgb_to_linear, linear_to_srgb),
        (linear_to_xyz, xyz_to_linear),
        (xyz_to_lab, lab_to_xyz),
        (srgb_to_lab, lab_to_srgb),
    ],
)
def test_the_way_back_is_the_inverse(there, back):
    torch.testing.assert_close(back(there(COLOURS)), COLOURS, rtol=0, atol=1e-6)


def test_gradients_are_those_of_finite_differences_and_finite_at_the_ends():
    inside = torch.rand(1, 3, 3, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(srgb_to_lab, (inside,))
    assert torch.autograd.gradcheck(lab_to_srgb, (srgb_to_lab(inside.detach()).requires_grad_(),))
    for ends in (torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)):
        ends.requires_grad_()
        srgb_to_lab(ends).sum().backward()
        assert ends.grad.isfinite().all()
        assert (ends.grad.abs().sum() > 0).item()
