"""Tilting moves pixels and makes none, and is the rotation that it says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from percert.search.ingest.tilted import tilt, tilted_size

from .conftest import smooth_image


@given(st.integers(1, 400), st.integers(1, 400), st.floats(-30, 30))
def test_each_pixel_is_one_of_the_image_and_none_is_there_twice(height, width, degrees):
    image = torch.arange(height * width).view(height, width)
    part = tilt(image, degrees)
    assert part.shape == tilted_size((height, width), degrees)
    assert len(part.unique()) == part.numel()


@pytest.mark.parametrize("degrees", [15.0, -15.0, 8.0])
@pytest.mark.parametrize("size", [(200, 200), (150, 240)])
def test_it_is_a_rotation_anticlockwise(size, degrees):
    """Against pillow's bicubic rotation about the middle, cut to the same size."""
    image = smooth_image(5, size)
    part = tilt(image, degrees)
    turned = Image.fromarray((image * 255).byte().permute(1, 2, 0).numpy()).rotate(
        degrees, resample=Image.Resampling.BICUBIC
    )
    height, width = part.shape[1:]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    theirs = np.asarray(turned)[top : top + height, left : left + width] / 255
    far = (part.permute(1, 2, 0).numpy() - theirs).__abs__().mean()
    away = (tilt(image, -degrees).permute(1, 2, 0).numpy() - theirs).__abs__().mean()
    assert far < 0.02 < away


def test_the_middle_is_as_large_as_the_angle_allows():
    part = 1 / (math.cos(math.radians(15)) + math.sin(math.radians(15)))
    assert tilted_size((1000, 1000), 15.0)[0] == pytest.approx(1000 * part, abs=5)
    assert tilted_size((1000, 1000), 1e-9) == (995, 995)
    assert tilted_size((640, 17), 15.0) == (640, 17)  # nothing would be left of it
