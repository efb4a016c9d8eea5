"""A network of layers whose Lipschitz bounds are proven, the hash of its weights, its frozen copy.

:func:`fold` puts the effective weights in the place of parameters, for compilers and exporters: a
compiler cannot guard on a parameter's version, and ONNX has no matrix inverse for Cayley. A folded
network holds the final numbers as buffers, so there is nothing to cache and nothing to compute but
the convolutions themselves.
"""

import copy
import hashlib
from collections.abc import Iterable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import weight_sizes
from percert.lipschitz.orthogonal import OrthogonalMix
from percert.lipschitz.reflector import ReflectorConv, reflect, reflector_sizes
from percert.lipschitz.sll import SLLConv, SLLDense, transposed


@final
class LipschitzNetwork(nn.Module):
    """Layers one after another: images ``(n, 3, h, w)`` in [0, 1] of ``resolution`` to ``(n, k)``.

    Every layer has ``lipschitz_bound()``; the product of these bounds the network, per unit of
    l2 change in the pixels of its input. With ``channels_last`` features are laid out pixel by
    pixel in evaluation, which 3 x 3 convolutions of few channels run much faster on. Raises
    ``ValueError`` for a layer without a bound, and for images of another size.

    >>> from percert.lipschitz.fixed_layers import NormOnePool
    >>> from percert.lipschitz.fixed_layers import Flatten
    >>> network = LipschitzNetwork([NormOnePool(4), Flatten()], resolution=(8, 8), name="pooled")
    >>> network(torch.rand(2, 3, 8, 8)).shape, network.lipschitz_bound().value
    (torch.Size([2, 12]), 1.0)
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        resolution: tuple[int, int],
        name: str,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.resolution = resolution
        self.name = name
        self.channels_last = channels_last
        if not len(self.layers):
            raise ValueError(f"{name}: a network needs at least one layer")
        for position, layer in enumerate(self.layers):
            if not callable(getattr(layer, "lipschitz_bound", None)):
                raise ValueError(
                    f"{name}: layer {position}, a {type(layer).__name__}, has no lipschitz_bound()"
                )

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[2:] != self.resolution:
            raise ValueError(
                f"{self.name}: expected images (n, 3, {self.resolution[0]}, {self.resolution[1]}), "
                f"found {tuple(images.shape)}"
            )
        # By shape, here and in the layers: len() would fix the size of the batch in an export.
        if images.shape[0] == 0:  # torch's pixel_unshuffle leaves an empty batch unfolded
            return self(images.new_zeros(1, *images.shape[1:]))[:0]  # type: ignore[no-any-return]  # nn.Module's call is untyped
        # Kernels that profit are those of float32.
        if self.channels_last and not self.training and images.dtype != torch.float64:
            images = images.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.layers(images)
        return features

    def lipschitz_bound(self) -> LipschitzBound:
        """The product of the layers' bounds, in embedding units per pixel-l2 unit."""
        value, proofs = 1.0, []
        for layer in self.layers:
            bound: LipschitzBound = layer.lipschitz_bound()  # type: ignore[operator]  # nn.Module's attributes are untyped
            value *= bound.value
            if bound.proof not in proofs:
                proofs.append(bound.proof)
        return LipschitzBound(value, f"{self.name}: {', '.join(proofs)}")


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer that is saved: sorted names, dtypes, shapes, bytes.

    The same on every device, 64 hexadecimal digits, and the same for float32 weights that are
    computed with in float64: it names the numbers.

    >>> layer = nn.Linear(1, 1)
    >>> weights_hash(layer) == weights_hash(layer.requires_grad_(False))
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if value.dtype == torch.float64 and torch.equal(value.float().double(), value):
            value = value.float()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def non_finite_weights(module: nn.Module) -> list[str]:
    """The names of parameters and buffers that hold NaN or infinite values."""
    return [name for name, value in module.state_dict().items() if not bool(value.isfinite().all())]


class FoldedMix(nn.Module):
    """An :class:`OrthogonalMix` with its matrix computed.

    Not by :func:`~percert.lipschitz.mixing.mix_channels`, which suits the processor that it runs
    on: what is exported runs on others, and a convolution is known to all.
    """

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


class FoldedReflector(nn.Module):
    """A :class:`ReflectorConv` with what it holds at every frequency computed."""

    rows: Tensor
    columns: Tensor
    back: Tensor
    bias: Tensor

    def __init__(self, layer: ReflectorConv) -> None:
        super().__init__()
        for name, value in zip(("rows", "columns", "back", "bias"), layer.effective(), strict=True):
            self.register_buffer(name, value.clone())
        self.bound = layer.lipschitz_bound()

    def forward(self, x: Tensor) -> Tensor:
        return reflect(x, *self.effective())

    def effective(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What forward computes with, as of the layer."""
        return self.rows, self.columns, self.back, self.bias

    def sizes(self) -> tuple[float, ...]:
        """Of what is effective: three amplifications, and the length of the bias."""
        return reflector_sizes(*self.effective())

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
    if isinstance(module, ReflectorConv):
        return FoldedReflector(module)
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    return module
