"""Random augmentations that several trainings share: the jittered view, and distortions.

- The two views of LipSim's distillation (Ghazanfari et al., section 4.2 and Figure 2, left): the
  standard one goes to teacher and student, the jittered one (flip, brightness, contrast,
  saturation, hue) to the student alone.
- Two severities of one distortion of each photograph: the milder one must be closer.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.images import Resize
from percert.tensors import Images, per_sample

#: The draws of one jittered view: mirror it, four amounts, make it grey.
DRAWS = 6
#: Of red, green and blue, in ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """How far the jittered view goes: factors in [1 - a, 1 + a], hue turned by up to a of a circle.

    ``flip`` is the chance of mirroring, ``chance`` that of changing colours at all, ``grey`` that
    of losing them. The paper names the kinds and not the amounts; its authors' code has a chance of
    0.8, a saturation of 0.2, and a fifth of the views grey.
    """

    flip: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    chance: float = 1.0
    grey: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.chance <= 1 and 0 <= self.grey <= 1):
            raise ValueError(
                f"jitter: expected chance and grey in [0, 1], found {self.chance} and {self.grey}"
            )
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
    """The draws of one image, ``(6,)``: mirror (0 or 1), three factors, a turn in radians, grey."""
    amounts = [jitter.brightness, jitter.contrast, jitter.saturation]
    factors = [1 + a * generator.uniform(-1, 1) for a in amounts]
    turn = 2 * math.pi * jitter.hue * generator.uniform(-1, 1)
    mirror = float(generator.random() < jitter.flip)
    if jitter.chance < 1 and generator.random() >= jitter.chance:
        factors, turn = [1.0, 1.0, 1.0], 0.0
    grey = float(jitter.grey > 0 and generator.random() < jitter.grey)
    return torch.tensor([mirror, *factors, turn, grey])


def jittered(images: Images, draws: Tensor) -> Images:
    """The jittered view of each image, from its draws ``(n, 6)``; clipped to [0, 1].

    Brightness multiplies, contrast scales around the mean grey, saturation around each pixel's
    grey, and the hue turns around the grey axis of RGB: linear, unlike a turn in HSV. What is made
    grey at the end is so by the luma of ITU-R BT.601.

    >>> photo = torch.rand(1, 3, 4, 4)
    >>> bool(jittered(photo, torch.tensor([[0.0, 1, 1, 1, 0, 0]])).allclose(photo, atol=1e-6))
    True
    """
    flip, brightness, contrast, saturation, turn, pale = (per_sample(d, images) for d in draws.T)
    images = torch.where(flip > 0.5, images.flip(-1), images) * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * saturation
    # Rodrigues' rotation around (1, 1, 1)/sqrt 3: the part along it is the grey.
    grey = images.mean(1, keepdim=True)
    across = (images.roll(1, 1) - images.roll(-1, 1)) / math.sqrt(3)
    turned = grey + (images - grey) * turn.cos() + across * turn.sin()
    turned = turned.clamp(0, 1)
    luma = (turned * turned.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.where(pale > 0.5, luma.expand_as(turned), turned)


def downsample(images: Images, size: int) -> Images:
    """Whole-pixel averages down to ``size``, which must divide the height."""
    return F.avg_pool2d(images, images.shape[-1] // size)


FAMILIES = ("noise", "blur", "brightness", "contrast", "saturation", "blocks", "zoom", "cast")


def distortion_pair(images: Images, generator: Generator) -> list[Images]:
    """``[milder, stronger]``, each ``(n, 3, h/2, w/2)``, of images at twice the network's size.

    The milder one goes 0.3 to 0.7 of the stronger one's way; family and severity are drawn from
    ``generator``, on the device of both.
    """
    count, device = len(images), generator.device
    rand = partial(torch.rand, generator=generator, device=device)
    family = torch.randint(len(FAMILIES), (count,), generator=generator, device=device)
    full = rand(count) * 0.7 + 0.3
    part = full * (rand(count) * 0.4 + 0.3)
    sign = torch.where(rand(count) < 0.5, -1.0, 1.0)
    size = (count, 3, images.shape[2] // 2, images.shape[3] // 2)
    noise = torch.randn(size, generator=generator, device=device)
    towards = rand(count, 2) * 2 - 1
    colour = rand(count, 3, 1, 1) * 2 - 1

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
        chosen = torch.stack(results)[family, torch.arange(count, device=device)]
        return chosen.clamp(0, 1)

    return [distort(part), distort(full)]


def _zoom(images: Images, severity: Tensor, towards: Tensor) -> Images:
    """Crops away up to 40 % of each side, towards one point."""
    side = 1 - 0.4 * severity
    theta = images.new_zeros(len(images), 2, 3)
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
