"""Random augmentations: the jittered view, edits as people make them, and distortions.

- The two views of LipSim's distillation (Ghazanfari et al., section 4.2 and Figure 2, left): the
  standard one goes to teacher and student, the jittered one (flip, brightness, contrast,
  saturation, hue) to the student alone.
- Edits of a batch of photographs, on the device that trains. The catalog in
  :mod:`percert.data.copy_edits` measures, this one trains. Both do what people do to photographs,
  but nothing is shared on purpose: what is measured must not be what was fitted.
- Two severities of one distortion of each photograph: the milder one must be closer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.images import Resize
from percert.tensors import Images, Vector, per_sample

#: The draws of one jittered view: mirror it, then four amounts.
DRAWS = 5


@dataclass(frozen=True)
class Jitter:
    """How far the jittered view goes: factors in [1 - a, 1 + a], hue turned by up to a of a circle.

    ``flip`` is the chance of mirroring. The paper names the kinds and not the amounts.
    """

    flip: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.hue <= 0.5):
            raise ValueError(
                f"jitter: expected flip in [0, 1] and hue in [0, 0.5], "
                f"found {self.flip} and {self.hue}"
            )
        if not all(0 <= a <= 1 for a in (self.brightness, self.contrast, self.saturation)):
            raise ValueError("jitter: expected brightness, contrast and saturation in [0, 1]")


def standard_view(image: Tensor, side: int, fit: Literal["squeeze", "crop"]) -> Tensor:
    """``(3, side, side)`` of ``(3, h, w)``: squeezed to a square, or its central square resized.

    >>> standard_view(torch.rand(3, 20, 30), 8, "crop").shape
    torch.Size([3, 8, 8])
    """
    if fit == "crop":
        height, width = image.shape[1:]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        image = image[:, top : top + short, left : left + short]
    # Bicubic overshoot is clipped: this makes a picture, it is no part of the network.
    return Resize((side, side), "bicubic")(image[None])[0].clamp(0, 1)


def draw_jitter(jitter: Jitter, generator: np.random.Generator) -> Tensor:
    """The draws of one image, ``(5,)``: mirror (0 or 1), three factors, a turn in radians."""
    amounts = [jitter.brightness, jitter.contrast, jitter.saturation]
    factors = [1 + a * generator.uniform(-1, 1) for a in amounts]
    turn = 2 * math.pi * jitter.hue * generator.uniform(-1, 1)
    return torch.tensor([float(generator.random() < jitter.flip), *factors, turn])


def jittered(images: Images, draws: Tensor) -> Images:
    """The jittered view of each image, from its draws ``(n, 5)``; clipped to [0, 1].

    Brightness multiplies, contrast scales around the mean grey, saturation around each pixel's
    grey, and the hue turns around the grey axis of RGB: linear, unlike a turn in HSV.

    >>> photo = torch.rand(1, 3, 4, 4)
    >>> bool(jittered(photo, torch.tensor([[0.0, 1, 1, 1, 0]])).allclose(photo, atol=1e-6))
    True
    """
    flip, brightness, contrast, saturation, turn = (per_sample(d, images) for d in draws.T)
    images = torch.where(flip > 0.5, images.flip(-1), images) * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * saturation
    # Rodrigues' rotation around (1, 1, 1)/sqrt 3: the part along it is the grey.
    grey = images.mean(1, keepdim=True)
    across = (images.roll(1, 1) - images.roll(-1, 1)) / math.sqrt(3)
    turned = grey + (images - grey) * turn.cos() + across * turn.sin()
    return turned.clamp(0, 1)


@dataclass(frozen=True)
class EditStrength:
    """How far the random edits go; shares are probabilities, the rest are largest amounts."""

    crop: float = 0.76
    hard_crop: float = 0.55
    degrees: float = 12.0
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: tuple[float, float] = (0.3, 1.6)
    cast: float = 0.05
    hard_cast: float = 0.4
    noise: float = 0.07
    crop_share: float = 0.6
    hard_share: float = 0.35
    caption_share: float = 0.12
    blur_share: float = 0.2
    noise_share: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "saturation", tuple(self.saturation))


ZERO, ONE = torch.zeros(()), torch.ones(())
#: Says of each sample whether its hard edit is the named one.
_Kind = Callable[[str], Tensor]

#: The hard edits of geometry, then of colour, then text; each is as likely as another.
HARD = ("crop", "crop", "rotate", "border", "border", "collage", "collage", "grey", "cast", "text")


def downsample(images: Images, size: int) -> Images:
    """Whole-pixel averages down to ``size``, which must divide the height."""
    return F.avg_pool2d(images, images.shape[-1] // size)


def random_edit(
    images: Images, others: Images, strength: EditStrength, generator: Generator
) -> Images:
    """One random edit of each image, as ``(n, 3, h/2, w/2)``; ``others`` stand behind collages.

    ``images`` and ``others`` are ``(n, 3, h, w)`` at twice the size wanted, so that crops keep
    their detail. Everything is drawn from ``generator``.
    """
    draw = _Draw(len(images), generator)
    hard = torch.full((len(images),), -1)
    chosen = torch.randint(len(HARD), hard.shape, generator=generator)
    hard = torch.where(draw.chance(strength.hard_share), chosen, hard)

    def kind(name: str) -> Tensor:
        numbers = torch.tensor([i for i, k in enumerate(HARD) if k == name])
        return torch.isin(hard, numbers)

    edited = _place(images, others, kind, strength, draw)
    edited = downsample(edited, images.shape[-1] // 2)
    edited = _recolour(edited, kind, strength, draw)
    edited = torch.where(per_sample(kind("text"), edited), _text(edited, draw), edited)
    caption = draw.chance(strength.caption_share)
    edited = torch.where(per_sample(caption, edited), _caption(edited, draw), edited)
    blurred = F.avg_pool2d(F.pad(edited, (1, 1, 1, 1), mode="replicate"), 3, 1)
    edited = torch.where(per_sample(draw.chance(strength.blur_share), edited), blurred, edited)
    sigma = draw.uniform(0, strength.noise) * draw.chance(strength.noise_share)
    noise = torch.randn(edited.shape, generator=generator)
    return (edited + per_sample(sigma, edited) * noise).clamp(0, 1)


def random_crop(
    images: Images, smallest: float, aspect: float, size: int, generator: Generator
) -> Images:
    """A random window of each image, at least ``smallest`` wide, stretched and maybe mirrored."""
    draw = _Draw(len(images), generator)
    side = draw.uniform(smallest, 1.0)
    stretch = draw.uniform(-aspect, aspect).exp()
    mirror = 1 - 2 * draw.chance(0.5).float()
    width, height = (side * stretch).clamp_max(1), (side / stretch).clamp_max(1)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2] = draw.uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = draw.uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="reflection").clamp(0, 1)


class _Draw:
    """Random numbers, one a sample."""

    def __init__(self, count: int, generator: Generator) -> None:
        self.count = count
        self.generator = generator

    def uniform(self, low: float, high: float) -> Vector:
        return torch.rand(self.count, generator=self.generator) * (high - low) + low

    def chance(self, share: float) -> Tensor:
        return torch.rand(self.count, generator=self.generator) < share


def _place(
    images: Images, others: Images, kind: _Kind, strength: EditStrength, draw: _Draw
) -> Images:
    """Crops, turns, shrinks: one resampling, with what lies outside the photograph filled in."""
    count = len(images)
    side = torch.where(draw.chance(strength.crop_share), draw.uniform(strength.crop, 1), ONE)
    side = torch.where(kind("crop"), draw.uniform(strength.hard_crop, strength.crop), side)
    side = torch.where(kind("rotate"), draw.uniform(0.85, 1.05), side)
    side = torch.where(kind("border"), 1 / draw.uniform(0.68, 0.86), side)
    side = torch.where(kind("collage"), 1 / draw.uniform(0.65, 0.85), side)
    angle = torch.where(kind("rotate"), draw.uniform(-1, 1) * math.radians(strength.degrees), ZERO)
    room = torch.where(kind("border"), ZERO, (1 - side).abs())
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side * angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -side * angle.sin(), side * angle.sin()
    theta[:, 0, 2], theta[:, 1, 2] = draw.uniform(-1, 1) * room, draw.uniform(-1, 1) * room
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    placed = F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    inside = (grid.abs() <= 1).all(-1)[:, None]
    colour = torch.rand(count, 3, 1, 1, generator=draw.generator)
    extreme = draw.chance(0.6)[:, None, None, None]
    colour = torch.where(extreme, colour[:, :1].round(), colour)
    # A quarter of the borders repeats the photograph's own edge, as blurred borders nearly do.
    own_edge = kind("border") & draw.chance(0.25)
    fill = torch.where(per_sample(own_edge, placed), placed, colour.expand_as(placed))
    fill = torch.where(per_sample(kind("collage"), placed), others, fill)
    return torch.where(inside, placed, fill)


def _recolour(images: Images, kind: _Kind, strength: EditStrength, draw: _Draw) -> Images:
    """Brightness, contrast, saturation and a cast of colour."""
    images = images * per_sample(
        draw.uniform(1 - strength.brightness, 1 + strength.brightness), images
    )
    mean = images.mean((1, 2, 3), keepdim=True)
    gain = draw.uniform(1 - strength.contrast, 1 + strength.contrast)
    images = mean + (images - mean) * per_sample(gain, images)
    grey = images.mean(1, keepdim=True)
    saturation = torch.where(
        kind("grey"), draw.uniform(0, 0.15), draw.uniform(*strength.saturation)
    )
    images = grey + (images - grey) * per_sample(saturation, images)
    reach = torch.where(kind("cast"), strength.hard_cast * ONE, strength.cast * ONE)
    cast = torch.rand(len(images), 3, 1, 1, generator=draw.generator) * 2 - 1
    images = images * (1 + cast * per_sample(reach, images))
    # Half of the strong casts turn the hue instead: the channels change places.
    turned = images.roll(1, 1)
    blend = torch.where(kind("cast") & draw.chance(0.5), draw.uniform(0.2, 0.8), ZERO)
    return torch.lerp(images, turned, per_sample(blend, images))


def _letters(images: Images, draw: _Draw, density: float) -> Tensor:
    """Where ink is: random strokes of two pixels, ``(n, 1, h, w)`` booleans."""
    count, _, height, width = images.shape
    strokes = torch.rand(count, 1, height // 2, width // 2, generator=draw.generator) < density
    return F.interpolate(strokes.float(), size=(height, width)) > 0.5


def _rows(images: Images, top: Tensor, tall: Tensor) -> Tensor:
    """The band of ``tall`` rows from ``top`` on, ``(n, 1, h, 1)`` booleans."""
    rows = torch.arange(images.shape[2])[None]
    return ((rows >= top[:, None]) & (rows < (top + tall)[:, None]))[:, None, :, None]


def _caption(images: Images, draw: _Draw) -> Images:
    """A bar with a line of text, at the bottom or at the top."""
    height = images.shape[2]
    tall = (draw.uniform(0.09, 0.17) * height).round()
    top = torch.where(draw.chance(0.3), ZERO, height - tall)
    paper = per_sample(draw.chance(0.75).float(), images)
    ink = _letters(images, draw, 0.4)
    bar = torch.where(ink, 1 - paper, paper).expand_as(images)
    # At this size letters are greys, not black and white.
    bar = torch.lerp(paper.expand_as(images), bar, 0.7)
    return torch.where(_rows(images, top, tall), bar, images)


def _text(images: Images, draw: _Draw) -> Images:
    """Three lines of large text, one colour."""
    height = images.shape[2]
    ink = _letters(images, draw, 0.5)
    colour = torch.rand(len(images), 3, 1, 1, generator=draw.generator).round()
    for _ in range(3):
        tall = (draw.uniform(0.08, 0.16) * height).round()
        top = (draw.uniform(0, 0.84) * height).round()
        images = torch.where(ink & _rows(images, top, tall), colour.expand_as(images), images)
    return images


FAMILIES = ("noise", "blur", "brightness", "contrast", "saturation", "blocks", "zoom", "cast")


def distortion_pair(images: Images, generator: Generator) -> list[Images]:
    """``[milder, stronger]``, each ``(n, 3, h/2, w/2)``, of images at twice the network's size.

    The milder one goes 0.3 to 0.7 of the stronger one's way; family and severity are drawn from
    ``generator``.
    """
    count = len(images)
    family = torch.randint(len(FAMILIES), (count,), generator=generator)
    full = torch.rand(count, generator=generator) * 0.7 + 0.3
    part = full * (torch.rand(count, generator=generator) * 0.4 + 0.3)
    sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    noise = torch.randn(count, 3, images.shape[2] // 2, images.shape[3] // 2, generator=generator)
    towards = torch.rand(count, 2, generator=generator) * 2 - 1
    colour = torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1

    def distort(severity: Tensor) -> Images:
        zoomed = _zoom(images, torch.where(family == FAMILIES.index("zoom"), severity, 0), towards)
        small = downsample(zoomed, images.shape[2] // 2)
        amount = per_sample(severity, small)
        signed = per_sample(severity * sign, small)
        mean, grey = small.mean((1, 2, 3), keepdim=True), small.mean(1, keepdim=True)
        results = (
            small + 0.12 * amount * noise,
            torch.lerp(small, _smooth(small, 9), amount),
            small * (1 + 0.6 * signed),
            mean + (small - mean) * (1 + 0.6 * signed),
            grey + (small - grey) * (1 + signed),
            torch.lerp(small, _blocks(small), amount),
            small,
            small * (1 + 0.5 * amount * colour),
        )
        chosen = torch.stack(results)[family, torch.arange(count)]
        return chosen.clamp(0, 1)

    return [distort(part), distort(full)]


def _zoom(images: Images, severity: Tensor, towards: Tensor) -> Images:
    """Crops away up to 40 % of each side, towards one point."""
    side = 1 - 0.4 * severity
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = towards * (1 - side)[:, None]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def _smooth(images: Images, size: int) -> Images:
    padded = F.pad(images, (size // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, size, 1)


def _blocks(images: Images) -> Images:
    """8 x 8 blocks of one colour, what a strong JPEG tends to."""
    return F.interpolate(F.avg_pool2d(images, 8), scale_factor=8)
