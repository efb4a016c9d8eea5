"""How channels are mixed: one matrix product for all images and pixels.

A 1 x 1 convolution is a product with every pixel's channels. Libraries compute it image by image,
which for maps of a few pixels is many small products, a third as fast as one large one; in float64,
which certificates are computed in, they know no other way on a CPU. On a GPU they turn pixels and
channels round, forth and back. The one product leaves its result
channel by channel in memory: of shape ``(n, c, h, w)``, with images next to each other within each
channel. Layers that put channels together keep that order, so that the next product needs no copy.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mix_channels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight`` ``(out, in)`` times the channels of ``(n, in)`` or ``(n, in, h, w)``, and a bias.

    >>> x, weight, bias = torch.rand(2, 3, 4, 4), torch.rand(5, 3), torch.rand(5)
    >>> expected = F.conv2d(x, weight[:, :, None, None], bias)
    >>> bool(torch.allclose(mix_channels(x, weight, bias), expected))
    True
    """
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    n, channels, height, width = x.shape
    pixels = x.transpose(0, 1).reshape(channels, n * height * width)
    mixed = torch.addmm(bias[:, None], weight, pixels)
    return mixed.reshape(len(weight), n, height, width).transpose(0, 1)


def channel_by_channel(x: Tensor) -> bool:
    """Whether ``(n, c, h, w)`` lies channel by channel in memory, images next to each other.

    >>> x = torch.rand(2, 3, 4, 4)
    >>> channel_by_channel(x), channel_by_channel(x.transpose(0, 1).contiguous().transpose(0, 1))
    (False, True)
    """
    return x.ndim == 4 and x.stride(1) > x.stride(0)


def join_channels(parts: Sequence[Tensor]) -> Tensor:
    """``torch.cat(parts, 1)``, in memory in the order that the parts have.

    >>> parts = torch.rand(3, 2, 4, 4).transpose(0, 1).split(1, 1)
    >>> joined = join_channels(parts)
    >>> bool(torch.equal(joined, torch.cat(parts, 1))), channel_by_channel(joined)
    (True, True)
    """
    if channel_by_channel(parts[0]):
        return torch.cat([part.transpose(0, 1) for part in parts]).transpose(0, 1)
    return torch.cat(list(parts), 1)
