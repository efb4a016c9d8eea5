"""Edits of a batch of photographs, drawn at random on the device that trains.

The catalog in :mod:`percert.data.copy_edits` measures; this module trains. Both do what people do
to photographs, but nothing is shared on purpose: what is measured must not be what was fitted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.norms import per_sample
from percert.tensors import Images, Vector


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
