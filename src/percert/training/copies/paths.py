"""One plain edit of each picture, somewhere along its parameter: the edits that are certified.

Random edits (:mod:`edits`) are what people do, several at once. A range that can be certified is of
one edit alone, and ends where its radius does; a margin that is kept along the whole path, and
beyond where it ends now, is to move that end outwards. At equal strangers it did not, when tried.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator

from percert.tensors import Images, per_sample
from percert.training.augmentations import downsample
from percert.training.copies.draw import Draw

#: Crops wherever they lie, rotations, zooms, brightness, contrast, gamma.
KINDS = 6


@dataclass(frozen=True)
class PathTerm:
    """The copy loss of plain edits, weighted; no other picture is drawn into them.

    ``pictures`` of each step are shown under one, its value drawn from as far as ``crop`` (the
    least share of each side that is left), ``degrees``, ``zoom`` (1/zoom to zoom times) and
    ``tone`` (likewise, for brightness, contrast and gamma). ``margin`` is the radius to keep, l2 at
    the network's resolution.
    """

    weight: float = 0.0
    pictures: int = 16
    margin: float = 6.0
    temperature: float = 1.0
    crop: float = 0.75
    degrees: float = 20.0
    zoom: float = 1.4
    tone: float = 2.5

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"paths: expected a crop in (0, 1], found {self.crop:g}")
        if min(self.zoom, self.tone) < 1:
            raise ValueError(
                f"paths: expected zoom and tone of at least 1, found {self.zoom:g} and "
                f"{self.tone:g}"
            )


def along_path(images: Images, term: PathTerm, generator: Generator) -> Images:
    """One plain edit of each image ``(n, 3, h, w)``, as ``(n, 3, h/2, w/2)``.

    >>> from torch import Generator
    >>> along_path(torch.rand(2, 3, 8, 8), PathTerm(), Generator().manual_seed(0)).shape
    torch.Size([2, 3, 4, 4])
    """
    draw = Draw(len(images), generator)
    kind = draw.integer(KINDS)
    one = torch.ones(len(images), device=draw.device)
    height, width = (torch.where(kind == 0, draw.uniform(term.crop, 1), one) for _ in range(2))
    angle = torch.where(kind == 1, torch.deg2rad(draw.uniform(-1, 1) * term.degrees), 0 * one)
    zoom = torch.where(kind == 2, term.zoom ** draw.uniform(-1, 1), one)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = width * angle.cos() / zoom, -angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), height * angle.cos() / zoom
    theta[:, 0, 2] = draw.uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = draw.uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    placed = F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    seen = downsample(placed, images.shape[-1] // 2)
    amount = per_sample(term.tone ** draw.uniform(-1, 1), seen)
    mean = seen.mean((1, 2, 3), keepdim=True)
    # A value of 0 has no finite slope under gamma; none is asked for, and 0 stays near 0.
    tones = (amount * seen, mean + amount * (seen - mean), seen.clamp_min(1e-3) ** amount)
    for number, toned in enumerate(tones, start=3):
        seen = torch.where(per_sample(kind == number, seen), toned, seen)
    return seen.clamp(0, 1)
