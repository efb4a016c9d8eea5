"""An image tilted by a few degrees without interpolation, so that its norm is at most 1.

A rotation by t is three shears, by tan(t/2) along rows, sin(t) along columns, and tan(t/2) along
rows again (Paeth, "A fast algorithm for general raster rotation", 1986). With each row and column
shifted by whole pixels every one of them moves pixels and makes none: what is cut out of the middle
is a selection of the image's own pixels, each at most once. An image that is too small or too
narrow to have such a middle is left as it is.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

#: What rounding three shifts may reach beyond the exact rectangle, in pixels of both sides.
_MARGIN = 4
#: A middle with fewer pixels on a side shows nothing.
_SMALLEST = 4


def tilted_size(size: tuple[int, int], degrees: float) -> tuple[int, int]:
    """The (height, width) of what is left of an image of (height, width) ``size``.

    The largest rectangle of its shape inside the rotated image, less :data:`_MARGIN`.

    >>> tilted_size((300, 300), 15.0), tilted_size((2, 3), 15.0)
    ((240, 240), (2, 3))
    """
    height, width = size
    cosine, sine = math.cos(math.radians(degrees)), abs(math.sin(math.radians(degrees)))
    part = 1 / (cosine + sine * max(height / width, width / height))
    found = int(part * height) - _MARGIN, int(part * width) - _MARGIN
    return found if min(found) >= _SMALLEST else size


def tilt(image: Tensor, degrees: float) -> Tensor:
    """The middle of ``(..., h, w)`` turned anticlockwise by ``degrees``, of :func:`tilted_size`.

    >>> image = torch.arange(900.0).view(30, 30)
    >>> part = tilt(image, 15.0)
    >>> tuple(part.shape), len(part.unique()) == part.numel()
    ((20, 20), True)
    """
    size = image.shape[-2], image.shape[-1]
    if tilted_size(size, degrees) == size:
        return image
    rows, columns = _sources(size, degrees)
    return image[..., rows.to(image.device), columns.to(image.device)]


@lru_cache(maxsize=32)
def _sources(size: tuple[int, int], degrees: float) -> tuple[Tensor, Tensor]:
    """From which row and column each pixel comes."""
    height, width = tilted_size(size, degrees)
    angle = math.radians(degrees)
    along, down = math.tan(angle / 2), math.sin(angle)
    row = torch.arange(height)[:, None] - height // 2
    column = torch.arange(width)[None] - width // 2
    column = column - (along * row).round().long()
    row = row + (down * column).round().long()
    column = column - (along * row).round().long()
    return row + size[0] // 2, column + size[1] // 2
