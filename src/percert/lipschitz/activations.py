"""Activations with slope at most 1 everywhere. Both keep the norm of a gradient."""

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound


class MaxMin(nn.Module):
    """Sorts channels in pairs: ``(n, 2c, ...) -> (n, 2c, ...)``, channel 2i the larger of 2i, 2i+1.

    A permutation of the inputs, hence 1-Lipschitz and norm-preserving (Anil, Lucas and Grosse,
    2019, GroupSort with groups of two).

    >>> MaxMin()(torch.tensor([[1.0, 3.0, 5.0, 2.0]]))
    tensor([[3., 1., 5., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2:
            raise ValueError(f"MaxMin: expected an even number of channels, found {x.shape[1]}")
        first, second = x[:, 0::2], x[:, 1::2]
        return torch.stack((torch.maximum(first, second), torch.minimum(first, second)), 2).flatten(
            1, 2
        )

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "sorting permutes")


class Abs(nn.Module):
    """The absolute value, 1-Lipschitz and norm-preserving.

    >>> Abs()(torch.tensor([-1.0, 2.0]))
    tensor([1., 2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "| |a| - |b| | <= |a - b|")
