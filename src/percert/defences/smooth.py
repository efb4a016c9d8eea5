"""Smoothing: a Gaussian blur and the median."""

import torch
import torch.nn.functional as F

from percert.tensors import Images


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
