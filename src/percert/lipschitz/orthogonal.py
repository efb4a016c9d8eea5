"""Orthogonal mixing of channels, with spatial shifts: a convolution that keeps every norm.

A 1 x 1 convolution with an orthogonal matrix, after every group of channels has been rolled by
one of nine offsets, is an orthogonal map with a 3 x 3 reach. It costs c^2 multiplications a pixel
where a 3 x 3 SLL costs 18 c^2, and no layer of it shrinks the signal.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import EffectiveWeights

#: A rounded orthogonal matrix may have a norm just above 1; shrinking it by this keeps the proof.
ROUNDING = 1e-6

OFFSETS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def cayley(square: Tensor) -> Tensor:
    """The orthogonal matrix (I - A)(I + A)^-1 of the skew part A = P - P^T of ``(c, c)``.

    >>> q = cayley(torch.randn(5, 5, dtype=torch.float64))
    >>> bool(torch.allclose(q @ q.T, torch.eye(5, dtype=torch.float64)))
    True
    """
    skew = square - square.T
    identity = torch.eye(len(square), dtype=square.dtype, device=square.device)
    turned: Tensor = torch.linalg.solve(identity + skew, identity - skew)
    return turned


class OrthogonalMix(nn.Module):
    """Multiplies the channels of every pixel by an orthogonal matrix, and adds a bias.

    ``(n, in, ...) -> (n, out, ...)`` with ``out <= in``: rows beyond ``out`` are dropped, which is
    the norm-1 projection that keeps what the layer learns to keep. With ``mirror`` the matrix
    commutes with exchanging the two halves of the channels, see :mod:`percert.lipschitz.mirror`.

    >>> layer = OrthogonalMix(6, 4)
    >>> layer(torch.rand(2, 6, 3, 3)).shape
    torch.Size([2, 4, 3, 3])
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, *, mirror: bool = False
    ) -> None:
        super().__init__()
        self.out_channels = channels if out_channels is None else out_channels
        if not 0 < self.out_channels <= channels:
            raise ValueError(
                f"OrthogonalMix: expected 1 to {channels} output channels, found {out_channels}"
            )
        if mirror and (channels % 2 or self.out_channels % 2):
            raise ValueError("OrthogonalMix: mirror needs even numbers of channels")
        self.mirror = mirror
        blocks, size = (2, channels // 2) if mirror else (1, channels)
        # A spread of about 1 in the skew part turns by every angle: a well-mixed start.
        self.square = nn.Parameter(torch.randn(blocks, size, size) / size**0.5)
        self.bias = nn.Parameter(torch.zeros(self.out_channels // blocks))
        self._effective = EffectiveWeights()

    def matrix(self) -> tuple[Tensor, Tensor]:
        """The matrix ``(out, in)`` and the bias ``(out,)``."""
        # float64 in evaluation: rounded once, it is orthogonal to float32's last digit.
        square = self.square if self.training else self.square.double()
        weight: Tensor
        bias: Tensor = self.bias
        if not self.mirror:
            weight = cayley(square[0])[: self.out_channels]
        else:
            # [[A, B], [B, A]] is orthogonal if and only if A + B and A - B are.
            keep = self.out_channels // 2
            even, odd = cayley(square[0])[:keep], cayley(square[1])[:keep]
            same, other = (even + odd) / 2, (even - odd) / 2
            weight = torch.cat((torch.cat((same, other), 1), torch.cat((other, same), 1)))
            bias = torch.cat((self.bias, self.bias))
        return (weight * (1 - ROUNDING)).to(self.square.dtype), bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self._effective.get(self, self.matrix)
        if x.ndim == 2:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight[:, :, None, None], bias)

    def train(self, mode: bool = True) -> "OrthogonalMix":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "rows of an orthogonal matrix (Cayley), scaled below 1")


class Shift(nn.Module):
    """Rolls nine groups of channels by the nine offsets of a 3 x 3 window: a permutation of pixels.

    With ``mirror`` the second half of the channels moves the mirrored way.

    >>> x = torch.rand(1, 9, 4, 4)
    >>> bool(Shift()(x).norm().isclose(x.norm()))
    True
    """

    def __init__(self, *, mirror: bool = False) -> None:
        super().__init__()
        self.mirror = mirror

    def forward(self, x: Tensor) -> Tensor:
        if not self.mirror:
            return _roll(x, 1)
        if x.shape[1] % 2:
            raise ValueError(f"Shift: mirror needs an even number of channels, found {x.shape[1]}")
        first, second = x.chunk(2, 1)
        return torch.cat((_roll(first, 1), _roll(second, -1)), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


def _roll(x: Tensor, direction: int) -> Tensor:
    """Contiguous groups of channels, one an offset, rolled; ``direction`` -1 mirrors them."""
    groups = torch.tensor_split(x, len(OFFSETS), 1)
    rolled = [
        torch.roll(group, (dy, dx * direction), (2, 3)) if (dy, dx) != (0, 0) else group
        for group, (dy, dx) in zip(groups, OFFSETS, strict=True)
    ]
    return torch.cat(rolled, 1)
