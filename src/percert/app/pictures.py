"""Pictures for people: reduced to fit, changes magnified, and where a change can be seen."""

from pathlib import Path

import torch
from torch import Tensor

from percert.color import ciede2000, srgb_to_lab
from percert.images import Resize, save_image

#: Pictures are shown with at most so many pixels on the longer side.
SHOWN = 640
#: The CIEDE2000 difference that the map shows as white, and about what is just seen.
WHITE, JUST_SEEN = 5.0, 1.0


def fit(image: Tensor, side: int) -> Tensor:
    """``(3, h, w)`` reduced to at most ``side`` pixels on its longer side, within [0, 1].

    >>> fit(torch.rand(3, 40, 20), 10).shape, fit(torch.rand(3, 4, 8), 10).shape
    (torch.Size([3, 10, 5]), torch.Size([3, 4, 8]))
    """
    height, width = image.shape[1:]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return Resize(size, "box")(image[None])[0].clamp(0, 1)


def write_picture(image: Tensor, path: Path, *, whole: bool = False) -> None:
    """Write ``(3, h, w)`` as a PNG, reduced for showing unless ``whole``."""
    save_image(image if whole else fit(image, SHOWN), path)


def magnified(before: Tensor, after: Tensor) -> tuple[Tensor, int]:
    """The change of ``(3, h, w)`` images on grey, and how many times it was magnified.

    The largest change reaches black or white.

    >>> picture, times = magnified(torch.zeros(3, 1, 1), torch.full((3, 1, 1), 0.05))
    >>> round(picture[0].item(), 3), times
    (1.0, 10)
    """
    change = after - before
    largest = float(change.abs().max())
    times = max(1, int(0.5 / largest + 1e-4)) if largest > 0 else 1
    return (0.5 + times * change).clamp(0, 1), times


def magnified_words(times: int) -> str:
    """What to say below a magnified change.

    >>> magnified_words(7)
    'The change, 7 times magnified; grey is none'
    """
    return f"The change{f', {times} times magnified' if times > 1 else ''}; grey is none"


@torch.no_grad()
def visible(before: Tensor, after: Tensor) -> Tensor:
    """Where the change can be seen: CIEDE2000 by pixel as grey, white from :data:`WHITE` on.

    >>> visible(torch.zeros(3, 1, 1), torch.ones(3, 1, 1)).flatten()
    tensor([1., 1., 1.])
    """
    return (_differences(before, after) / WHITE).clamp(0, 1).expand(3, -1, -1)


@torch.no_grad()
def seen_share(before: Tensor, after: Tensor) -> float:
    """The share of pixels of two ``(3, h, w)`` images that differ by more than is just seen.

    >>> grey = torch.full((3, 2, 2), 0.5)
    >>> seen_share(grey, grey + 0.001), seen_share(grey, grey + 0.1)
    (0.0, 1.0)
    """
    return float((_differences(before, after) > JUST_SEEN).double().mean())


def _differences(before: Tensor, after: Tensor) -> Tensor:
    return ciede2000(srgb_to_lab(before[None]), srgb_to_lab(after[None]))
