"""The absolute value of every second quarter of the channels: MaxMin, cheaper."""

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound


class HalfAbs(nn.Module):
    """Takes the absolute value of half of the channels: ``(n, 4c, ...) -> (n, 4c, ...)``.

    Sorting a pair is a rotation by 45 degrees, an absolute value of one coordinate, and a rotation
    back. Between orthogonal matrices, which absorb rotations, this is :class:`MaxMin` without the
    sorting. The channels come in four quarters, plain, absolute, plain, absolute, so that it
    commutes with exchanging the halves (:mod:`percert.lipschitz.mirror`).

    >>> HalfAbs()(torch.tensor([[-1.0, -2.0, -3.0, -4.0]]))
    tensor([[-1.,  2., -3.,  4.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 4:
            raise ValueError(f"HalfAbs: expected a multiple of 4 channels, found {x.shape[1]}")
        first, second, third, fourth = x.chunk(4, 1)
        return torch.cat((first, second.abs(), third, fourth.abs()), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "| |a| - |b| | <= |a - b|")
