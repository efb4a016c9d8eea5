"""What edits lay over photographs: captions, text, stripes, other pictures, a screen around them.

Letters are random strokes: at 64 pixels a text is no more than that.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.tensors import Images, Vector, per_sample
from percert.training.copies.draw import Draw


def caption(images: Images, draw: Draw) -> Images:
    """A bar with a line of text, at the bottom or at the top."""
    height = images.shape[2]
    tall = (draw.uniform(0.09, 0.17) * height).round()
    top = torch.where(draw.chance(0.3), 0.0, height - tall)
    paper = per_sample(draw.chance(0.75).float(), images)
    ink = _letters(images, draw, 0.4)
    bar = torch.where(ink, 1 - paper, paper).expand_as(images)
    # At this size letters are greys, not black and white.
    bar = torch.lerp(paper.expand_as(images), bar, 0.7)
    return torch.where(_rows(images, top, tall), bar, images)


def text(images: Images, draw: Draw) -> Images:
    """Three lines of large text, one colour."""
    height = images.shape[2]
    ink = _letters(images, draw, 0.5)
    colour = draw.numbers(len(images), 3, 1, 1).round()
    for _ in range(3):
        tall = (draw.uniform(0.08, 0.16) * height).round()
        top = (draw.uniform(0, 0.84) * height).round()
        images = torch.where(ink & _rows(images, top, tall), colour.expand_as(images), images)
    return images


def stripes(images: Images, draw: Draw) -> Images:
    """Stripes of one colour in any direction, half of them see-through."""
    count, _, height, width = images.shape
    rows = torch.linspace(0, 1, height, device=draw.device)[None, :, None]
    columns = torch.linspace(0, 1, width, device=draw.device)[None, None]
    angle, period, phase = draw.uniform(0, 3.15), draw.uniform(0.08, 0.4), draw.uniform(0, 1)
    along = rows * angle.sin()[:, None, None] + columns * angle.cos()[:, None, None]
    inked = (along / period[:, None, None] + phase[:, None, None]) % 1
    mask = (inked < draw.uniform(0.2, 0.5)[:, None, None])[:, None]
    opacity = torch.where(draw.chance(0.5), draw.uniform(0.3, 1), 1.0)
    colour = draw.numbers(count, 3, 1, 1).expand_as(images)
    return torch.where(mask, torch.lerp(images, colour, per_sample(opacity, images)), images)


def overlay(images: Images, others: Images, draw: Draw) -> Images:
    """A box, or a disc, of another picture or of one colour: up to a third of the picture."""
    count, _, height, width = images.shape
    rows = torch.linspace(-1, 1, height, device=draw.device)[None, :, None]
    columns = torch.linspace(-1, 1, width, device=draw.device)[None, None]
    tall, wide = draw.uniform(0.2, 0.65), draw.uniform(0.2, 0.65)
    down, right = draw.uniform(-0.8, 0.8), draw.uniform(-0.8, 0.8)
    v = (rows - down[:, None, None]) / tall[:, None, None]
    h = (columns - right[:, None, None]) / wide[:, None, None]
    disc = draw.chance(0.4)[:, None, None]
    mask = torch.where(disc, v.square() + h.square() < 1, torch.maximum(v.abs(), h.abs()) < 1)
    plain = draw.numbers(count, 3, 1, 1).expand_as(images)
    laid = torch.where(per_sample(draw.chance(0.5), images), plain, others)
    return torch.where(mask[:, None], laid, images)


def screen(images: Images, draw: Draw) -> Images:
    """A screen to stand behind a photograph: its colour, two bars, and lines of text between."""
    height = images.shape[2]
    paper = images[:, :, :1, :1]
    ink = torch.where(paper.mean(1, keepdim=True) > 0.5, 0.2, 0.85)
    lines = _letters(images, draw, 0.35)
    every = torch.arange(height, device=draw.device)[None, None, :, None] // 4 % 2 == 0
    found = torch.where(lines & every, ink.expand_as(images), paper.expand_as(images))
    bar = draw.numbers(len(images), 3, 1, 1).expand_as(images)
    for low in (0.0, 1.0):
        tall = (draw.uniform(0.0, 0.14) * height).round()
        found = torch.where(_rows(images, low * (height - tall), tall), bar, found)
    return found


def _letters(images: Images, draw: Draw, density: float) -> Tensor:
    """Where ink is: random strokes of two pixels, ``(n, 1, h, w)`` booleans."""
    count, _, height, width = images.shape
    strokes = draw.numbers(count, 1, height // 2, width // 2) < density
    return F.interpolate(strokes.float(), size=(height, width)) > 0.5


def _rows(images: Images, top: Vector, tall: Vector) -> Tensor:
    """The band of ``tall`` rows from ``top`` on, ``(n, 1, h, 1)`` booleans."""
    rows = torch.arange(images.shape[2], device=images.device)[None]
    return ((rows >= top[:, None]) & (rows < (top + tall)[:, None]))[:, None, :, None]
