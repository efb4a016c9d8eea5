"""Layers that commute with mirroring an image, and a last one that forgets the side.

The channels come in two halves. Mirroring the image mirrors every channel left to right and
exchanges the halves. A layer is equivariant if it commutes with that; :class:`MirrorFold` at the
end turns equivariance into exact invariance. All are permutations or rotations, the Haar transform
of 2 x 2 pixels among them: norm exactly 1. (A group convolution for the group of two, Cohen and
Welling, 2016.)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.mixing import join_channels


class MirrorLift(nn.Module):
    """Folds r x r pixels into channels (r even), ordered so that mirroring exchanges the halves.

    ``(n, c, r h, r w) -> (n, c r^2, h, w)``: the first half holds the left r/2 columns of every
    r x r window, the second half the right ones from the right edge inwards.

    >>> x = torch.rand(1, 3, 8, 8)
    >>> first, second = MirrorLift(4)(x).chunk(2, 1)
    >>> mirrored_first, _ = MirrorLift(4)(x.flip(-1)).chunk(2, 1)
    >>> bool(torch.equal(mirrored_first, second.flip(-1)))
    True
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor % 2:
            raise ValueError(f"MirrorLift: expected an even factor, found {factor}")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        r = self.factor
        folded = F.pixel_unshuffle(x, r)  # channels in the order c, row, column of the window
        columns = folded.reshape(x.shape[0], x.shape[1] * r, r, *folded.shape[2:])
        left, right = columns[:, :, : r // 2], columns[:, :, r // 2 :].flip(2)
        return torch.cat((left.flatten(1, 2), right.flatten(1, 2)), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


class MirrorSpaceToDepth(nn.Module):
    """Space to depth by ``factor`` that keeps the two mirrored halves mirrored.

    >>> MirrorSpaceToDepth(2)(torch.rand(1, 6, 4, 4)).shape
    torch.Size([1, 24, 2, 2])
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        first, second = _halves(x, type(self).__name__)
        folded = F.pixel_unshuffle(second.flip(-1), self.factor).flip(-1)
        return torch.cat((F.pixel_unshuffle(first, self.factor), folded), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


class MirrorZeroPad(nn.Module):
    """Appends zero channels to each half, ``channels`` in all.

    >>> MirrorZeroPad(8)(torch.rand(1, 6, 2, 2)).shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        missing = self.channels - x.shape[1]
        if missing < 0 or missing % 2:
            raise ValueError(
                f"MirrorZeroPad: cannot pad {x.shape[1]} channels in equal halves "
                f"to {self.channels}"
            )
        first, second = _halves(x, type(self).__name__)
        pad = (0, 0, 0, 0, 0, missing // 2)
        return torch.cat((F.pad(first, pad), F.pad(second, pad)), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "zeros appended")


class MirrorFold(nn.Module):
    """Flattens ``(n, c, h, w)`` into ``(n, c h w)`` values that mirroring leaves exactly alone.

    With z the first half and z' the mirrored second half, mirroring exchanges z and z'; the result
    is ((z + z')/sqrt 2, |z - z'|/sqrt 2): a rotation and an absolute value, so norms are kept.

    >>> x = torch.rand(1, 2, 2, 2)
    >>> mirrored = x.flip(1).flip(-1)
    >>> bool(torch.equal(MirrorFold()(x), MirrorFold()(mirrored)))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second = _halves(x, type(self).__name__)
        here, mirrored = first.flatten(1), second.flip(-1).flatten(1)
        return torch.cat((here + mirrored, (here - mirrored).abs()), 1) * math.sqrt(0.5)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a rotation and an absolute value")


def _halves(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The two halves of the channels. Raises ``ValueError`` where they would be unequal."""
    if x.shape[1] % 2:
        raise ValueError(f"{name}: expected an even number of channels, found {x.shape[1]}")
    first, second = x.chunk(2, 1)
    return first, second


class MirrorHaar(nn.Module):
    """Space to depth by 2 in the orthonormal Haar basis: ``(n, c, 2h, 2w) -> (n, 4c, h, w)``.

    A permutation and a rotation: every norm is kept. In each half of the channels the averages come
    first, so an :class:`~percert.lipschitz.orthogonal.OrthogonalMix` near the identity that drops
    the last channels starts as norm-1 pooling: natural images have most of their energy there. The
    second half sees its pixels mirrored (:mod:`percert.lipschitz.mirror`).

    >>> x = torch.rand(1, 4, 6, 8)
    >>> bool(MirrorHaar()(x).norm().isclose(x.norm()))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return join_channels((_haar(first), _haar(second.flip(-1)).flip(-1)))

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation and a rotation")


def _haar(x: Tensor) -> Tensor:
    """``(n, c, 2h, 2w) -> (n, 4c, h, w)``: all averages, then each kind of difference."""
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise ValueError(
            f"MirrorHaar: expected an even height and width, found {tuple(x.shape[2:])}"
        )
    # Sums by pairs: a product with the 4 x 4 basis takes an eighth longer for the whole network.
    rows = x[:, :, 0::2], x[:, :, 1::2]
    (upper, upper_step), (lower, lower_step) = (
        (row[..., 0::2] + row[..., 1::2], row[..., 0::2] - row[..., 1::2]) for row in rows
    )
    parts = (
        *(upper + lower, upper_step + lower_step),  # the average, then what changes across
        *(upper - lower, upper_step - lower_step),  # what changes downwards, then both ways
    )
    return join_channels(parts) / 2
