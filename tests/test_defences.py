"""Defences against what they are by definition, and against other implementations of them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter
from skimage import data

from percert.defences import create_defence, list_defences


def photograph():
    image = torch.from_numpy(data.astronaut()[100:148, 180:244].copy())
    return image.permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("name", list_defences())
def test_defences_keep_shape_range_and_input(name):
    images = torch.cat((photograph(), photograph().flip(3)))
    before = images.clone()
    defended = create_defence(name)(images)
    assert defended.shape == images.shape
    assert defended.min() >= -1e-6
    assert defended.max() <= 1 + 1e-6
    assert torch.equal(images, before)
    assert not torch.equal(defended, images)
    torch.testing.assert_close(create_defence(name)(images[1:]), defended[1:])


def test_jpeg_is_what_a_file_holds():
    image = photograph()
    stream = io.BytesIO()
    levels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(stream, "JPEG", quality=50)
    expected = torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1)
    found = (create_defence("jpeg-50")(image)[0] * 255).round().byte()
    assert torch.equal(found, expected)


def test_fewer_bits_are_fewer_levels():
    found = create_defence("bits-2")(photograph())
    assert set((found * 3).unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert (found - photograph()).abs().max() <= 1 / 6 + 1e-6
    torch.testing.assert_close(create_defence("bits-8")(photograph()), photograph())


def test_smoothing_agrees_with_scipy():
    image = photograph()
    inner = (slice(None), slice(6, -6), slice(6, -6))
    blurred = gaussian_filter(image[0].numpy(), (0, 1, 1), truncate=3.0)
    found = create_defence("blur-1")(image)[0]
    np.testing.assert_allclose(found[inner], blurred[inner], atol=1e-5)
    expected = median_filter(image[0].numpy(), (1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(create_defence("median-3")(image)[0], expected)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gif", "not known"), ("jpeg", "not known"), ("jpeg-x", "quality"), ("bits-9", "bits")],
)
def test_a_bad_name_is_one_line(name, reason):
    with pytest.raises(ValueError, match=f"defence '{name}'.*{reason}"):
        create_defence(name)
