"""Distortions: stronger at a greater severity, and the chance does not depend on it."""

import numpy as np
import pytest
from PIL import Image

from percert.data.distortions import DISTORTIONS, Distortion, distortion_triplet


def photograph(seed: int = 1) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(40, 216, (16, 20, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((100, 80), Image.Resampling.BICUBIC)


def ramp(seed: int) -> Image.Image:
    """Without detail: what is moved further is changed more, everywhere."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize((100, 80), Image.Resampling.BILINEAR)


GEOMETRIC = ("rotate", "zoom", "shift", "border")


def error(image: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(image, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float((difference**2).mean())


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda each: each.name)
def test_the_milder_is_nearer_in_pixels(distortion: Distortion) -> None:
    for index in range(6):
        image = ramp(index) if distortion.name in GEOMETRIC else photograph(index)
        triplet = distortion_triplet(image, distortion, 0, index)
        mild, strong = triplet.severities
        assert 0 < mild <= 0.7 * strong <= 0.7
        assert triplet.milder.size == triplet.stronger.size == triplet.reference.size
        assert error(triplet.reference, triplet.milder) < error(
            triplet.reference, triplet.stronger
        ), triplet.severities


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda each: each.name)
def test_repeats_itself_and_differs_between_photographs(distortion: Distortion) -> None:
    first, again, other = (
        distortion_triplet(photograph(), distortion, 0, index) for index in (0, 0, 1)
    )
    assert first.stronger.tobytes() == again.stronger.tobytes()
    assert first.severities == again.severities
    assert first.severities != other.severities


def test_noise_has_one_pattern_at_two_severities() -> None:
    flat = Image.new("RGB", (60, 60), (128, 128, 128))
    noise = next(each for each in DISTORTIONS if each.name == "noise")
    triplet = distortion_triplet(flat, noise, 0, 0)
    mild, strong = (
        np.asarray(image, dtype=np.float64).ravel() - 128
        for image in (triplet.milder, triplet.stronger)
    )
    assert np.corrcoef(mild, strong)[0, 1] > 0.95


def test_only_rgb_images() -> None:
    with pytest.raises(ValueError, match="expected mode RGB, found L"):
        distortion_triplet(photograph().convert("L"), DISTORTIONS[0], 0, 0)
