"""SDP-based Lipschitz layers (SLL), dense and convolutional.

Equation 12 of LipSim (Ghazanfari et al., 2023), from Araujo et al. (2023), Theorem 3:

    phi(x) = x - 2 W diag(t)^-1 relu(W^T x + b),    t_i = sum_j |W^T W|_ij q_j / q_i,

which is 1-Lipschitz for every W, b and every q > 0. The absolute value is essential: a published
variant drops it and reaches norms near 2. Here ``weight`` holds K = W^T, so |W^T W| is |K K^T|.

Since relu(a z) = a relu(z) for a >= 0, the scale 2/t is split evenly: with R = diag(2/t)^1/2 K,

    phi(x) = x - R^T relu(R x + diag(2/t)^1/2 b),

which is 1-Lipschitz because R^T R <= 2 I. One tensor does both products, so there are no two that
could come to disagree.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import UNIT, EffectiveWeights, weight_sizes


def same_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d`` with stride 1 and the zero padding that keeps the size, for odd kernels.

    In float64 torch lays the neighbourhood of every pixel out in memory, k x k times all input
    channels. Where there are fewer outputs it is the products that are laid out and added up
    instead: a matrix product in both cases, of the smaller kind. The same sums in another order.

    >>> x, weight = torch.rand(2, 8, 5, 6).double(), torch.rand(2, 8, 3, 3).double()
    >>> bool(torch.allclose(same_convolution(x, weight), F.conv2d(x, weight, padding=1)))
    True
    """
    outputs, inputs, height, width = weight.shape
    padding = (height // 2, width // 2)
    plain = x.dtype != torch.float64 or x.device.type != "cpu" or torch.compiler.is_compiling()
    if plain or x.shape[0] == 0:
        return F.conv2d(x, weight, bias, padding=padding)
    if inputs <= outputs:
        patches = F.unfold(x, (height, width), padding=padding)
        result: Tensor = torch.unflatten(weight.flatten(1) @ patches, 2, x.shape[2:])
    else:
        # Adding patches up again is the transpose of laying them out: the kernel is flipped.
        taps = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, inputs)
        result = F.fold(taps @ x.flatten(2), x.shape[2:], (height, width), padding=padding)
    return result if bias is None else result + bias[:, None, None]


#: Rounding may push a computed scale above its exact value; shrinking it by this keeps the proof.
ROUNDING = 1e-6
#: A row of zeros has t = 0 and does nothing: below this its scale is 0.
TINY = 1e-30
#: log q reaches this far below its maximum. Any positive q proves the layer, so one that is nearer
#: to the others does as well, and its ratios are far from overflow.
FARTHEST = 60.0


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
        """2 / t, shape ``(inner,)``; float64 in evaluation."""
        weight, log_q = _precise(self, self.weight, self.log_q)
        return _scale((weight @ weight.T).abs() + _doubt(self, weight), log_q)

    def effective(self) -> tuple[Tensor, Tensor]:
        """R ``(inner, features)`` and its bias ``(inner,)``: all that forward computes with."""
        weight, bias = self._effective.get(self, self._compute)
        return weight, bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of R, and the length of the bias."""
        return self._effective.sizes(self, self._compute, weight_sizes)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective()
        return x - F.relu(F.linear(x, weight, bias)) @ weight

    def train(self, mode: bool = True) -> "SLLDense":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "SLL (Araujo et al. 2023, Theorem 3)")

    def _compute(self) -> tuple[Tensor, Tensor]:
        return _split(self, self.weight, self.bias, self.scale)


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
        """2 / t, shape ``(inner,)``; float64 in evaluation."""
        weight, log_q = _precise(self, self.weight, self.log_q)
        reach = weight.shape[-1] - 1
        gram = F.conv2d(weight, weight, padding=reach).abs().sum((2, 3))
        return _scale(gram + (2 * reach + 1) ** 2 * _doubt(self, weight), log_q)

    def effective(self) -> tuple[Tensor, Tensor]:
        """The kernel R and its bias ``(inner,)``: all that forward computes with."""
        weight, bias = self._effective.get(self, self._compute)
        return weight, bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of R, and the length of the bias."""
        return self._effective.sizes(self, self._compute, weight_sizes)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective()
        hidden = same_convolution(x, weight, bias)
        # In place: a convolution's gradient needs neither of its outputs.
        back = -transposed(weight).contiguous()
        return same_convolution(F.relu(hidden, inplace=True), back).add_(x)

    def train(self, mode: bool = True) -> "SLLConv":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "SLL (Araujo et al. 2023, Theorem 3)")

    def _compute(self) -> tuple[Tensor, Tensor]:
        return _split(self, self.weight, self.bias, self.scale)


def transposed(kernel: Tensor) -> Tensor:
    """The kernel of a stride-1 convolution's transpose: flipped, inputs and outputs exchanged."""
    return kernel.flip(2, 3).transpose(0, 1)


def _precise(layer: nn.Module, *parameters: Tensor) -> tuple[Tensor, ...]:
    """In evaluation in float64, which neither overflows nor is ever rounded to TF32."""
    return parameters if layer.training else tuple(value.double() for value in parameters)


def _doubt(layer: nn.Module, weight: Tensor) -> Tensor | float:
    """What rounding may hide in an entry of K K^T: gamma |K_i| |K_j|, ``(inner, inner)``.

    Rows that are orthogonal but for the last digit would otherwise count as orthogonal, and q may
    weigh that digit as it likes. Nothing is proven in training.
    """
    if layer.training:
        return 0.0
    rows = weight.flatten(1)
    norms: Tensor = rows.norm(dim=1)
    return torch.finfo(weight.dtype).eps * rows.shape[1] * torch.outer(norms, norms)


def _scale(gram: Tensor, log_q: Tensor) -> Tensor:
    """2 / t with t_i = sum_j gram_ij q_j / q_i, less what rounding can add to it."""
    q = (log_q - log_q.detach().max()).clamp_min(-FARTHEST).exp()
    t = (gram @ q) / q
    scale = (2 * (1 - ROUNDING)) / t.clamp_min(TINY)
    return torch.where(t > TINY, scale, 0.0)


def _split(
    layer: nn.Module, weight: Tensor, bias: Tensor, scale: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """R and its bias, in the precision of ``weight``.

    Rounding R moves it by at most u |R| in every entry, by the unit roundoff times the
    amplification in norm: it is made that much shorter before.
    """
    exact, shift = _precise(layer, weight, bias)
    squared = scale()
    used = squared > 0
    root = torch.where(used, torch.where(used, squared, 1.0).sqrt(), 0.0)
    scaled = root.view(-1, *[1] * (weight.ndim - 1)) * exact
    if not layer.training and weight.dtype != torch.float64:
        scaled = scaled * (1 - UNIT.get(weight.dtype, 0.01) * _schur(scaled))
    return scaled.to(weight.dtype), (root * shift).to(weight.dtype)


def _schur(weight: Tensor) -> Tensor:
    """:func:`amplification` as a tensor, for compilers."""
    size = weight.detach().abs()
    rows, columns = size.flatten(1).sum(1).max(), size.transpose(0, 1).flatten(1).sum(1).max()
    return (rows * columns).sqrt()
