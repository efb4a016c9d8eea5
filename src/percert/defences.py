"""Preprocessing defences, which may take an attack's change away: functions of images to images.

JPEG compression, as a file would be; fewer levels a channel (feature squeezing); a Gaussian blur
and the median.

>>> import torch
>>> from percert.defences import create_defence
>>> defended = create_defence("bits-4")(torch.rand(1, 3, 8, 8))
"""

import io
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from percert.registry import Registry
from percert.tensors import Images


def bit_depth(images: Images, bits: int) -> Images:
    """The nearest of ``2^bits`` evenly spaced levels from 0 to 1 (Xu, Evans and Qi 2018).

    The gradient is zero almost everywhere.

    >>> bit_depth(torch.tensor([[[[0.1, 0.6]]] * 3]), bits=1)[0, 0]
    tensor([[0., 1.]])
    """
    top = torch.full((), 2.0**bits - 1, dtype=images.dtype, device=images.device)
    return (images.clamp(0, 1) * top).round() / top


def jpeg(images: Images, quality: int) -> Images:
    """Each image written as a JPEG of this ``quality`` (1 to 100), and read again.

    Rounded to 8 bits first; libjpeg's tables, colour at half the resolution, as Pillow does it. No
    gradient: see :class:`percert.attacks.goal_through.Surviving` for attacks that expect it.

    >>> image = torch.rand(1, 3, 16, 16)
    >>> jpeg(image, quality=75).shape
    torch.Size([1, 3, 16, 16])
    """
    levels = (images.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    decoded = []
    for image in levels.permute(0, 2, 3, 1).cpu().numpy():
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as found:
            decoded.append(torch.from_numpy(np.array(found.convert("RGB"))))
    if not decoded:
        return images.clone()
    stacked = torch.stack(decoded).permute(0, 3, 1, 2).to(images.device)
    return stacked.to(images.dtype) / torch.full((), 255.0, device=images.device)


def blur(images: Images, sigma: float) -> Images:
    """A Gaussian blur of standard deviation ``sigma`` pixels, the image mirrored at its edges.

    >>> blur(torch.ones(1, 3, 8, 8), sigma=1.0).allclose(torch.ones(1, 3, 8, 8))
    True
    """
    reach = max(1, min(round(3 * sigma), min(images.shape[2:]) - 1))
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).repeat(3, 1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows = F.conv2d(padded, weights[:, None, None], groups=3)
    return F.conv2d(rows, weights[:, None, :, None], groups=3)


def median(images: Images, side: int) -> Images:
    """The median of the ``side`` x ``side`` pixels around each, channel by channel; ``side`` odd.

    >>> spot = torch.zeros(1, 3, 8, 8); spot[..., 4, 4] = 1
    >>> median(spot, side=3).max()
    tensor(0.)
    """
    if side % 2 == 0:
        raise ValueError(f"median: expected an odd side, found {side}")
    reach = side // 2
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)
    return windows.flatten(4).median(4).values


class Defence(Protocol):
    """A function from images ``(n, 3, h, w)`` in [0, 1] to images of the same shape."""

    def __call__(self, images: Images, /) -> Images: ...


@dataclass(frozen=True)
class DefenceCard:
    """A family of defences: where it lives, its one setting, and from what to what that may go."""

    name: str
    where: str
    setting: str
    kind: type[int] | type[float]
    low: float
    high: float
    example: str


CATALOG = Registry(
    "defence",
    (
        DefenceCard("jpeg", "percert.defences:jpeg", "quality", int, 1, 100, "jpeg-75"),
        DefenceCard("bits", "percert.defences:bit_depth", "bits", int, 1, 8, "bits-4"),
        DefenceCard("blur", "percert.defences:blur", "sigma", float, 0.1, 20, "blur-1"),
        DefenceCard("median", "percert.defences:median", "side", int, 3, 9, "median-3"),
    ),
)


def list_defences() -> list[str]:
    """The families that :func:`create_defence` knows, each with an example of a setting.

    >>> list_defences()
    ['jpeg-75', 'bits-4', 'blur-1', 'median-3']
    """
    return [card.example for card in CATALOG.values()]


def create_defence(name: str) -> Defence:
    """The defence called ``name``: ``none``, or a family and its setting, as in ``jpeg-75``.

    Raises ``ValueError`` for a family that is not known and a setting that is out of range.

    >>> create_defence("jpeg-0")
    Traceback (most recent call last):
    ValueError: defence 'jpeg-0': expected a quality from 1 to 100, found 0
    """
    if name == "none":
        return lambda images: images
    family, dash, value = name.partition("-")
    if family not in CATALOG or not dash:
        raise ValueError(
            f"defence {name!r}: not known; known are none and, with their settings, "
            f"{', '.join(list_defences())}"
        )
    card = CATALOG[family]
    try:
        number = card.kind(value)
    except ValueError:
        number = None
    if number is None or not card.low <= number <= card.high:
        raise ValueError(
            f"defence {name!r}: expected a {card.setting} from {card.low:g} to {card.high:g}, "
            f"found {value}"
        )
    return partial(CATALOG.load(family), **{card.setting: number})


__all__ = ["Defence", "create_defence", "list_defences"]
