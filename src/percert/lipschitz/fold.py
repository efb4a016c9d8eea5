"""Freezing a network: effective weights in the place of parameters, for compilers and exporters.

A compiler cannot guard on a parameter's version, and ONNX has no matrix inverse for Cayley. A
folded network holds the final numbers as buffers, so there is nothing to cache and nothing to
compute but the convolutions themselves.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.amplification import weight_sizes
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.orthogonal import OrthogonalMix
from percert.lipschitz.sll import SLLConv, SLLDense, transposed


class FoldedMix(nn.Module):
    """An :class:`OrthogonalMix` with its matrix computed."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: OrthogonalMix) -> None:
        super().__init__()
        weight, bias = layer.effective()
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias.clone())
        self.bound = layer.lipschitz_bound()

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return F.linear(x, self.weight, self.bias)
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)

    def effective(self) -> tuple[Tensor, Tensor]:
        """The weight and the bias that forward computes with."""
        return self.weight, self.bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of the weight, and the length of the bias."""
        return weight_sizes(self.weight, self.bias)

    def lipschitz_bound(self) -> LipschitzBound:
        return self.bound


class FoldedSLL(nn.Module):
    """An :class:`SLLDense` or :class:`SLLConv` with its scale computed and multiplied in."""

    weight: Tensor
    bias: Tensor
    back: Tensor

    def __init__(self, layer: SLLDense | SLLConv) -> None:
        super().__init__()
        self.padding = layer.padding if isinstance(layer, SLLConv) else None
        weight, bias = layer.effective()
        back = -(weight.T if self.padding is None else transposed(weight))
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias.clone())
        self.register_buffer("back", back.contiguous())
        self.bound = layer.lipschitz_bound()

    def forward(self, x: Tensor) -> Tensor:
        if self.padding is None:
            return x + F.linear(F.relu(F.linear(x, self.weight, self.bias)), self.back)
        hidden = F.relu(F.conv2d(x, self.weight, self.bias, padding=self.padding))
        return x + F.conv2d(hidden, self.back, padding=self.padding)

    def effective(self) -> tuple[Tensor, Tensor]:
        """The weight and the bias that forward computes with."""
        return self.weight, self.bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: the amplification of the weight, and the length of the bias."""
        return weight_sizes(self.weight, self.bias)

    def lipschitz_bound(self) -> LipschitzBound:
        return self.bound


def fold(network: nn.Module) -> nn.Module:
    """A copy of ``network`` for evaluation alone, with every effective weight computed.

    Gives the same numbers, is no longer trained by an optimiser, and follows no later change of the
    original. Made for ``torch.compile`` and ``torch.onnx.export``; takes an ``EmbeddingMetric`` as
    well. Audit a network before it is folded: the auditor knows no folded layers.

    >>> layer = OrthogonalMix(4).eval()
    >>> x = torch.rand(2, 4)
    >>> bool(torch.allclose(fold(layer)(x), layer(x)))
    True
    """
    with torch.inference_mode(False), torch.no_grad():
        return _fold(copy.deepcopy(network).eval().requires_grad_(False))


def _fold(module: nn.Module) -> nn.Module:
    if isinstance(module, OrthogonalMix):
        return FoldedMix(module)
    if isinstance(module, SLLDense | SLLConv):
        return FoldedSLL(module)
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    return module
