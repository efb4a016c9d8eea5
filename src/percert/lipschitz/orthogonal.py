"""Orthogonal mixing of channels, with spatial shifts: a convolution that keeps every norm.

A 1 x 1 convolution with an orthogonal matrix, after every group of channels has been rolled by
one of nine offsets, is an orthogonal map with a 3 x 3 reach. It costs c^2 multiplications a pixel
where a 3 x 3 SLL costs 18 c^2, and no layer of it shrinks the signal.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import EffectiveWeights, weight_sizes

#: A rounded orthogonal matrix may have a norm just above 1; shrinking it by this keeps the proof.
ROUNDING = 1e-6

OFFSETS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def cayley(square: Tensor) -> Tensor:
    """The orthogonal matrix (I - A)(I + A)^-1 of the skew part A = P - P^T of ``(c, c)``.

    >>> q = cayley(torch.randn(5, 5, dtype=torch.float64))
    >>> bool(torch.allclose(q @ q.T, torch.eye(5, dtype=torch.float64)))
    True
    """
    turned: Tensor = _Cayley.apply(square)  # type: ignore[no-untyped-call]  # torch's has no types
    return turned


class _Cayley(torch.autograd.Function):
    """Q = 2 M - I with M = (I + A)^-1, so dQ = -2 M dA M: the gradient needs no second inverse.

    On a GPU the inverses are most of a training step of small networks: this takes a third off it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(square: Tensor) -> Tensor:
        skew = square - square.T
        identity = torch.eye(len(square), dtype=square.dtype, device=square.device)
        turned: Tensor = 2 * torch.linalg.inv(identity + skew) - identity
        return turned

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (turned,) = ctx.saved_tensors
        inverse = (turned + torch.eye(len(turned), dtype=turned.dtype, device=turned.device)) / 2
        towards: Tensor = -2 * inverse.T @ gradient @ inverse.T
        return towards - towards.T  # A = P - P^T


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
        """The matrix ``(out, in)``, of norm at most 1 as it is rounded, and the bias ``(out,)``."""
        # float64 in evaluation: rounded once, it is orthogonal to float32's last digit.
        square = self.square if self.training else self.square.double()
        weight: Tensor
        # A copy: what is cached stands, though the parameter be edited behind autograd's back.
        bias: Tensor = self.bias.clone()
        if not self.mirror:
            weight = cayley(square[0])[: self.out_channels]
        else:
            # [[A, B], [B, A]] is orthogonal if and only if A + B and A - B are.
            keep = self.out_channels // 2
            even, odd = cayley(square[0])[:keep], cayley(square[1])[:keep]
            same, other = (even + odd) / 2, (even - odd) / 2
            weight = torch.cat((torch.cat((same, other), 1), torch.cat((other, same), 1)))
            bias = torch.cat((self.bias, self.bias))
        weight = weight * (1 - ROUNDING)
        rounded = weight.to(self.square.dtype)
        if not self.training:
            excess = _excess(rounded.detach())
            rounded = torch.where(excess > 0, (weight * (1 - 2 * excess)).to(rounded), rounded)
        return rounded, bias

    def effective(self) -> tuple[Tensor, Tensor]:
        """The matrix and the bias that forward computes with."""
        weight, bias = self._effective.get(self, self.matrix)
        return weight, bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of the matrix, and the length of the bias."""
        return self._effective.sizes(self, self.matrix, weight_sizes)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective()
        if x.ndim == 2:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight[:, :, None, None], bias)

    def train(self, mode: bool = True) -> "OrthogonalMix":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "rows of an orthogonal matrix (Cayley), scaled below 1")


def _excess(weight: Tensor) -> Tensor:
    """An upper bound of |W|^2 - 1 for a nearly orthogonal W, 0 or more: from W W^T in float64.

    |W W^T| <= s + |W W^T - s I|_F for every s; s is what W is scaled to.
    """
    exact = weight.double()
    gram = exact @ exact.T
    target = (1 - ROUNDING) ** 2
    stray = (gram - target * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).norm()
    # The float64 product itself is off by less than n u |W|_F^2.
    slack = 2.0**-52 * weight.shape[1] * exact.square().sum()
    excess: Tensor = (target + stray + slack - 1).clamp_min(0)
    return excess


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
