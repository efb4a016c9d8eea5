"""SDP-based Lipschitz layers (SLL), dense and convolutional.

Equation 12 of LipSim (Ghazanfari et al., 2023), from Araujo et al. (2023), Theorem 3:

    phi(x) = x - 2 W diag(t)^-1 relu(W^T x + b),    t_i = sum_j |W^T W|_ij q_j / q_i,

which is 1-Lipschitz for every W, b and every q > 0. The absolute value is essential: a published
variant drops it and reaches norms near 2. Here ``weight`` holds K = W^T, so |W^T W| is |K K^T|.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import EffectiveWeights

#: Rounding may push a computed scale above its exact value; shrinking it by this keeps the proof.
ROUNDING = 1e-6
#: A row of zeros has t = 0 and does nothing; this keeps 2 / t finite there.
TINY = 1e-30


class SLLDense(nn.Module):
    """The SLL of a dense matrix: ``(n, features) -> (n, features)``, with ``inner`` hidden units.

    >>> layer = SLLDense(8, 16)
    >>> layer(torch.rand(2, 8)).shape
    torch.Size([2, 8])
    """

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inner, features))
        self.bias = nn.Parameter(torch.zeros(inner))
        #: log q: any real number is a positive q.
        self.log_q = nn.Parameter(torch.zeros(inner))
        nn.init.xavier_normal_(self.weight)
        self._effective = EffectiveWeights()

    def scale(self) -> Tensor:
        """2 / t, shape ``(inner,)``."""
        gram = (self.weight @ self.weight.T).abs()
        return _scale(gram, self.log_q)

    def forward(self, x: Tensor) -> Tensor:
        (scale,) = self._effective.get(self, lambda: (self.scale(),))
        hidden = F.relu(F.linear(x, self.weight, self.bias))
        return x - (hidden * scale) @ self.weight

    def train(self, mode: bool = True) -> "SLLDense":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "SLL (Araujo et al. 2023, Theorem 3)")


class SLLConv(nn.Module):
    """The SLL of a convolution with zero padding: ``(n, channels, h, w)`` to the same shape.

    W^T W is a convolution again, with kernel K K^T of size 2k - 1; the sum over its entries'
    absolute values bounds the row sums of the operator at every image size, borders included
    (zero padding only removes terms).

    >>> layer = SLLConv(4, 8)
    >>> layer(torch.rand(2, 4, 6, 5)).shape
    torch.Size([2, 4, 6, 5])
    """

    def __init__(self, channels: int, inner: int, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"SLLConv: expected an odd kernel_size, found {kernel_size}")
        self.weight = nn.Parameter(torch.empty(inner, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.log_q = nn.Parameter(torch.zeros(inner))
        nn.init.xavier_normal_(self.weight)
        self._effective = EffectiveWeights()

    @property
    def padding(self) -> int:
        return int(self.weight.shape[-1]) // 2

    def scale(self) -> Tensor:
        """2 / t, shape ``(inner,)``."""
        reach = self.weight.shape[-1] - 1
        gram = F.conv2d(self.weight, self.weight, padding=reach).abs().sum((2, 3))
        return _scale(gram, self.log_q)

    def back(self) -> Tensor:
        """-2 W diag(t)^-1 as the kernel of a plain convolution: the transpose is a flip."""
        scaled = self.weight * self.scale()[:, None, None, None]
        return -scaled.flip(2, 3).transpose(0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        (back,) = self._effective.get(self, lambda: (self.back(),))
        hidden = F.conv2d(x, self.weight, self.bias, padding=self.padding)
        # In place: a convolution's gradient needs neither of its outputs.
        return F.conv2d(F.relu(hidden, inplace=True), back, padding=self.padding).add_(x)

    def train(self, mode: bool = True) -> "SLLConv":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "SLL (Araujo et al. 2023, Theorem 3)")


def _scale(gram: Tensor, log_q: Tensor) -> Tensor:
    """2 / t with t_i = sum_j gram_ij q_j / q_i, less what rounding can add to it."""
    q = log_q.exp()
    t = (gram @ q) / q
    return (2 * (1 - ROUNDING)) / t.clamp_min(TINY)
