"""What the steps of Algorithms 2 and 3 share: augmented images, and their precision.

Attacks and verdicts see images as they are, in float32: an augmentation or a rounding there would
change what D holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import numpy as np
import torch

from percert.tensors import Images
from percert.training.dro.weighting import Generator

#: ``flip`` mirrors half of the images, ``flip-shift`` moves them by up to an eighth as well.
Augmentation: TypeAlias = Literal["none", "flip", "flip-shift"]
Precision: TypeAlias = Literal["float32", "bfloat16"]


def augment(images: Images, how: Augmentation, generator: Generator) -> Images:
    """``images`` ``(n, 3, h, w)`` as a step sees them; what leaves the frame is mirrored in.

    Every image takes the same three random numbers, whatever is done with them.

    >>> image = torch.arange(12.0).reshape(1, 3, 1, 4)
    >>> augment(image, "flip", np.random.default_rng(1))[0, 0].tolist()
    [[3.0, 2.0, 1.0, 0.0]]
    >>> augment(image, "flip", np.random.default_rng(2))[0, 0].tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """
    if how == "none":
        return images
    drawn = generator.random((len(images), 3))
    height, width = images.shape[-2:]
    most = 1 / 8 if how == "flip-shift" else 0.0
    down = np.round((2 * drawn[:, 1] - 1) * most * height)
    right = np.round((2 * drawn[:, 2] - 1) * most * width)
    rows = _mirrored(np.arange(height) + down[:, None], height)
    columns = _mirrored(np.arange(width) + right[:, None], width)
    columns = np.where(drawn[:, :1] > 0.5, columns[:, ::-1], columns)
    at = [
        torch.from_numpy(np.ascontiguousarray(places)).to(images.device)
        for places in (rows, columns)
    ]
    taken = images.gather(2, at[0][:, None, :, None].expand(-1, 3, -1, width))
    return taken.gather(3, at[1][:, None, None, :].expand(-1, 3, height, -1))


def _mirrored(places: "np.typing.NDArray[np.float64]", size: int) -> "np.typing.NDArray[np.int64]":
    """Places along an axis, those beyond an end counted back from it."""
    inside = np.abs(places.astype(np.int64))
    return np.where(inside >= size, 2 * (size - 1) - inside, inside)


@contextmanager
def precision_of(name: Precision, device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions of the forward pass in ``name``; weights stay float32."""
    if name == "float32":
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        yield
