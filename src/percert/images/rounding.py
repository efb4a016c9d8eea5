"""Rounding to the 256 levels that an 8-bit file can hold."""

import torch
from torch import Tensor


def round_to_8bit(images: Tensor) -> Tensor:
    """The nearest values k/255, k = 0 ... 255, of a float tensor of any shape, in its own dtype.

    These are, to the bit, the values that :func:`percert.images.load_image` gives for an 8-bit
    file, on every device. The gradient is zero almost everywhere.

    >>> 255 * round_to_8bit(torch.tensor([-0.1, 0.1, 0.5, 1.2]))
    tensor([  0.,  26., 128., 255.])
    """
    levels = (images.clamp(0, 1) * 255).round()
    # On a GPU, division by a Python number multiplies by its reciprocal and misses the last bit.
    return levels / torch.full((), 255.0, dtype=images.dtype, device=images.device)
