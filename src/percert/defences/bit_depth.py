"""Fewer levels a channel: feature squeezing."""

import torch

from percert.tensors import Images


def bit_depth(images: Images, bits: int) -> Images:
    """The nearest of ``2^bits`` evenly spaced levels from 0 to 1 (Xu, Evans and Qi 2018).

    The gradient is zero almost everywhere.

    >>> bit_depth(torch.tensor([[[[0.1, 0.6]]] * 3]), bits=1)[0, 0]
    tensor([[0., 1.]])
    """
    top = torch.full((), 2.0**bits - 1, dtype=images.dtype, device=images.device)
    return (images.clamp(0, 1) * top).round() / top
