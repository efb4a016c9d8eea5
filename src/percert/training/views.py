"""The two pipelines of LipSim's distillation: the standard view of an image, and the jittered one.

Section 4.2 and Figure 2 (left) of Ghazanfari et al.: the standard image goes to teacher and
student, the jittered one (flip, brightness, contrast, saturation, hue) to the student alone.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from percert.images import Resize
from percert.norms import per_sample
from percert.tensors import Images

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
