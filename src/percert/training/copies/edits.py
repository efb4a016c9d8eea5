"""Random edits of a batch of photographs, as people make them, on the device that trains.

The catalog in :mod:`percert.data.copy_edits` measures, this one trains. Both do what people do to
photographs, but nothing is shared on purpose: what is measured must not be what was fitted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.tensors import Images, per_sample
from percert.training.augmentations import downsample
from percert.training.copies.draw import Draw
from percert.training.copies.overlays import caption, overlay, screen, stripes, text


@dataclass(frozen=True)
class EditStrength:
    """How far the random edits go; shares are probabilities, the rest are largest amounts.

    ``collage`` and ``crop`` are the least sides of what is pasted and of what is left; ``hard`` are
    the kinds of hard edits (:data:`HARD`), of which ``hard_share`` of the images have one, each as
    likely as another: a kind that is named twice is twice as likely.
    """

    crop: float = 0.76
    hard_crop: float = 0.55
    degrees: float = 12.0
    collage: float = 0.65
    tilt: float = 0.2
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
    hard: tuple[str, ...] = (
        *("crop", "crop", "rotate", "border", "border", "collage", "collage"),
        *("grey", "cast", "text"),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "saturation", tuple(self.saturation))
        object.__setattr__(self, "hard", tuple(self.hard))
        unknown = sorted(set(self.hard) - set(HARD))
        if unknown or not self.hard:
            raise ValueError(f"edits: expected hard edits of {', '.join(HARD)}, found {self.hard}")


#: The kinds of hard edits: of geometry, of colour, and what is laid over.
HARD = (
    *("crop", "rotate", "tilt", "border", "collage", "screen"),
    *("grey", "cast", "tone", "blend", "pixels"),
    *("text", "overlay", "stripes"),
)
#: Says of each sample whether its hard edit is the named one.
_Kind = Callable[[str], Tensor]


def random_edit(
    images: Images, behind: Images, before: Images, strength: EditStrength, generator: Generator
) -> Images:
    """One random edit of each image, as ``(n, 3, h/2, w/2)``.

    Of the other pictures ``behind`` stand behind collages and shine through, ``before`` are laid
    over. All are ``(n, 3, h, w)`` at twice the size wanted, so that crops keep their detail.
    Everything is drawn from ``generator``, on whose device the images are.
    """
    draw = Draw(len(images), generator)
    named = torch.tensor([HARD.index(name) for name in strength.hard], device=draw.device)
    hard = torch.where(draw.chance(strength.hard_share), named[draw.integer(len(named))], -1)

    def kind(name: str) -> Tensor:
        return hard == HARD.index(name)

    edited = downsample(_place(images, behind, kind, strength, draw), images.shape[-1] // 2)
    edited = _recolour(edited, kind, strength, draw)
    through, laid = (downsample(other, images.shape[-1] // 2) for other in (behind, before))
    changes: dict[str, Callable[[Images], Images]] = {
        "text": lambda seen: text(seen, draw),
        "overlay": lambda seen: overlay(seen, laid, draw),
        "stripes": lambda seen: stripes(seen, draw),
        "blend": lambda seen: torch.lerp(seen, through, per_sample(draw.uniform(0.1, 0.4), seen)),
        "pixels": lambda seen: _pixels(seen, draw),
    }
    for name, change in changes.items():
        if name in strength.hard:
            edited = torch.where(per_sample(kind(name), edited), change(edited), edited)
    edited = torch.where(
        per_sample(draw.chance(strength.caption_share), edited), caption(edited, draw), edited
    )
    blurred = F.avg_pool2d(F.pad(edited, (1, 1, 1, 1), mode="replicate"), 3, 1)
    edited = torch.where(per_sample(draw.chance(strength.blur_share), edited), blurred, edited)
    sigma = draw.uniform(0, strength.noise) * draw.chance(strength.noise_share)
    return (edited + per_sample(sigma, edited) * draw.normal(*edited.shape)).clamp(0, 1)


def random_crop(
    images: Images, smallest: float, aspect: float, size: int, generator: Generator
) -> Images:
    """A random window of each image, at least ``smallest`` wide, stretched and maybe mirrored."""
    draw = Draw(len(images), generator)
    side = draw.uniform(smallest, 1.0)
    stretch = draw.uniform(-aspect, aspect).exp()
    mirror = 1 - 2 * draw.chance(0.5).float()
    width, height = (side * stretch).clamp_max(1), (side / stretch).clamp_max(1)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2] = draw.uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = draw.uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="reflection").clamp(0, 1)


def _place(
    images: Images, behind: Images, kind: _Kind, strength: EditStrength, draw: Draw
) -> Images:
    """Crops, turns, shrinks: one resampling, with what lies outside the photograph filled in."""
    count = len(images)
    side = torch.where(draw.chance(strength.crop_share), draw.uniform(strength.crop, 1), 1.0)
    side = torch.where(kind("crop"), draw.uniform(strength.hard_crop, strength.crop), side)
    side = torch.where(kind("rotate"), draw.uniform(0.85, 1.05), side)
    side = torch.where(kind("border"), 1 / draw.uniform(0.68, 0.86), side)
    side = torch.where(kind("collage"), 1 / draw.uniform(strength.collage, 0.85), side)
    side = torch.where(kind("screen"), 1 / draw.uniform(strength.collage, 0.9), side)
    turn = draw.uniform(-1, 1) * math.radians(strength.degrees)
    angle = torch.where(kind("rotate"), turn, 0.0)
    room = torch.where(kind("border"), 0.0, (1 - side).abs())
    theta = images.new_zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side * angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -side * angle.sin(), side * angle.sin()
    theta[:, 0, 2], theta[:, 1, 2] = draw.uniform(-1, 1) * room, draw.uniform(-1, 1) * room
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    if "tilt" in strength.hard:
        # A plane seen from aside: what is divided by grows along a direction.
        lean = (draw.numbers(count, 2) * 2 - 1) * strength.tilt * kind("tilt")[:, None]
        grid = grid / (1 + (grid * lean[:, None, None]).sum(-1, keepdim=True))
    placed = F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    inside = (grid.abs() <= 1).all(-1)[:, None]
    colour = draw.numbers(count, 3, 1, 1)
    colour = torch.where(draw.chance(0.6)[:, None, None, None], colour[:, :1].round(), colour)
    # A quarter of the borders repeats the photograph's own edge, as blurred borders nearly do.
    own_edge = kind("border") & draw.chance(0.25)
    fill = torch.where(per_sample(own_edge, placed), placed, colour.expand_as(placed))
    fill = torch.where(per_sample(kind("collage"), placed), behind, fill)
    if "screen" in strength.hard:
        fill = torch.where(per_sample(kind("screen"), placed), screen(fill, draw), fill)
    return torch.where(inside, placed, fill)


def _recolour(images: Images, kind: _Kind, strength: EditStrength, draw: Draw) -> Images:
    """Brightness, contrast, saturation, a curve of tone and a cast of colour."""
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
    reach = torch.where(kind("cast"), strength.hard_cast, strength.cast)
    cast = draw.numbers(len(images), 3, 1, 1) * 2 - 1
    images = images * (1 + cast * per_sample(reach, images))
    # Half of the strong casts turn the hue instead: the channels change places.
    turned = images.roll(1, 1)
    blend = torch.where(kind("cast") & draw.chance(0.5), draw.uniform(0.2, 0.8), 0.0)
    images = torch.lerp(images, turned, per_sample(blend, images))
    if "tone" not in strength.hard:
        return images
    power = torch.where(kind("tone"), draw.uniform(-1, 1).exp(), 1.0)
    return images.clamp(1e-3, 1) ** per_sample(power, images)


def _pixels(images: Images, draw: Draw) -> Images:
    """Large squares of one colour: a quarter or an eighth of the resolution."""
    small, large = (F.interpolate(F.avg_pool2d(images, k), scale_factor=k) for k in (4, 8))
    return torch.where(per_sample(draw.chance(0.5), images), small, large)
