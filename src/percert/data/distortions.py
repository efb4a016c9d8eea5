"""Distortions of growing severity, and triplets of which the answer is known.

Of two versions of a photograph under the same distortion, the less severe is the closer one. Every
distortion keeps the size of the image, draws its chance (direction, place, noise pattern) from the
generator alone and not from the severity, and is stronger everywhere at a greater severity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageEnhance

from percert.data import pixel_edits

RGB = Image.Image


@dataclass(frozen=True)
class Distortion:
    """``apply(image, severity, generator)`` of an RGB image, severity in (0, 1]."""

    name: str
    apply: Callable[[RGB, float, np.random.Generator], RGB]


@dataclass(frozen=True)
class DistortionTriplet:
    """``milder`` is the closer of the two to ``reference``; all have the same size."""

    reference: RGB
    milder: RGB
    stronger: RGB
    distortion: str
    severities: tuple[float, float]


def distortion_triplet(
    image: RGB, distortion: Distortion, seed: int, index: int
) -> DistortionTriplet:
    """The triplet of photograph ``index``, deterministic in ``seed`` and ``index``.

    The stronger severity is uniform in [0.3, 1], the milder 0.2 to 0.7 of it.

    >>> photo = Image.effect_noise((32, 24), 60).convert("RGB")
    >>> triplet = distortion_triplet(photo, DISTORTIONS[0], 0, 0)
    >>> triplet.severities[0] < triplet.severities[1], triplet.milder.size
    (True, (32, 24))
    """
    if image.mode != "RGB":
        raise ValueError(f"image: expected mode RGB, found {image.mode}")
    place = [distortion.name for distortion in DISTORTIONS].index(distortion.name)
    key = [seed, place, index]
    severities = np.random.default_rng([*key, 0])
    strong = float(severities.uniform(0.3, 1.0))
    mild = strong * float(severities.uniform(0.2, 0.7))
    milder, stronger = (
        distortion.apply(image, severity, np.random.default_rng([*key, 1]))
        for severity in (mild, strong)
    )
    return DistortionTriplet(image, milder, stronger, distortion.name, (mild, strong))


def _jpeg(image: RGB, severity: float, _: np.random.Generator) -> RGB:
    return pixel_edits.jpeg(image, round(95 - 90 * severity))


def _downscale(image: RGB, severity: float, _: np.random.Generator) -> RGB:
    """To as little as 15 % of each side, and back."""
    small = pixel_edits.rescale(image, 1 - 0.85 * severity)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _blur(image: RGB, severity: float, _: np.random.Generator) -> RGB:
    """A Gaussian of up to 2 % of the longer side."""
    return pixel_edits.blur(image, 0.02 * max(image.size) * severity)


def _noise(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    return pixel_edits.noise(image, generator, 48 * severity)


def _enhance(
    image: RGB,
    severity: float,
    generator: np.random.Generator,
    kind: Callable[[RGB], ImageEnhance._Enhance],
    most: float,
) -> RGB:
    """Up or down by up to the factor 1 +- ``most``."""
    return pixel_edits.enhance(image, kind, 1 + most * severity * generator.choice((-1, 1)))


def _hue(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    return pixel_edits.hue(image, 0.25 * severity * generator.choice((-1, 1)))


def _rotate(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    return pixel_edits.rotate(image, 20 * severity * generator.choice((-1, 1)))


def _zoom(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    """A crop down to half of each side around a point that stays, brought back to full size."""
    across, down = generator.uniform(0, 1, 2)
    keep = 1 - 0.5 * severity
    width, height = keep * image.width, keep * image.height
    left, top = across * (image.width - width), down * (image.height - height)
    box = (left, top, left + width, top + height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _shift(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    """Moved by up to a fifth of its size in some direction, black behind it."""
    turn = generator.uniform(0, 2 * np.pi)
    across = round(0.2 * severity * image.width * np.cos(turn))
    down = round(0.2 * severity * image.height * np.sin(turn))
    canvas = Image.new("RGB", image.size)
    canvas.paste(image, (across, down))
    return canvas


def _border(image: RGB, severity: float, generator: np.random.Generator) -> RGB:
    """Shrunk into a frame of one grey of up to a fifth of each side."""
    grey = int(generator.integers(0, 256))
    framed = pixel_edits.border(image, 0.3 * severity, f"rgb({grey}, {grey}, {grey})")
    return framed.resize(image.size, Image.Resampling.BICUBIC)


DISTORTIONS: tuple[Distortion, ...] = (
    Distortion("jpeg", _jpeg),
    Distortion("downscale", _downscale),
    Distortion("blur", _blur),
    Distortion("noise", _noise),
    Distortion("brightness", partial(_enhance, kind=ImageEnhance.Brightness, most=0.7)),
    Distortion("contrast", partial(_enhance, kind=ImageEnhance.Contrast, most=0.7)),
    Distortion("saturation", partial(_enhance, kind=ImageEnhance.Color, most=1.0)),
    Distortion("hue", _hue),
    Distortion("rotate", _rotate),
    Distortion("zoom", _zoom),
    Distortion("shift", _shift),
    Distortion("border", _border),
)
