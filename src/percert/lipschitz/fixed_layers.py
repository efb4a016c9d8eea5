"""Layers without weights, of norm at most 1: activations, pooling, moves of values."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.mixing import join_channels


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
        return join_channels((first, second.abs(), third, fourth.abs()))

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "| |a| - |b| | <= |a - b|")


class NormOnePool(nn.Module):
    """Sums over k x k pixels divided by k: ``(n, c, k h, k w) -> (n, c, h, w)``.

    An average over k x k pixels has norm 1/k; k times that has norm exactly 1 (its rows are
    orthonormal: windows do not overlap), and keeps the low frequencies' energy.

    >>> import torch
    >>> NormOnePool(2)(torch.ones(1, 1, 2, 2)).item()  # norm 2 before, norm 2 after
    2.0
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.size or x.shape[3] % self.size:
            raise ValueError(
                f"NormOnePool: height and width must be multiples of {self.size}, "
                f"found {tuple(x.shape[2:])}"
            )
        # Not by divisor_override, which torch's ONNX exporter drops without a word.
        return F.avg_pool2d(x, self.size) * self.size

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "orthonormal rows")


class L2Pool(nn.Module):
    """The length of every channel over all pixels: ``(n, c, h, w) -> (n, c, 1, 1)``.

    1-Lipschitz: lengths differ by at most the length of the difference, channel by channel; and
    the length of the whole is kept. Where things are is forgotten (LipNeXt, 2026).

    >>> L2Pool()(torch.tensor([[[[3.0, 0.0], [0.0, -4.0]]]])).item()
    5.0
    """

    def forward(self, x: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        return lengths

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "| |a| - |b| | <= |a - b| of vectors")


class SpaceToDepth(nn.Module):
    """Folds r x r pixels into channels: ``(n, c, r h, r w) -> (n, c r^2, h, w)``, a permutation.

    >>> SpaceToDepth(2)(torch.rand(1, 3, 4, 6)).shape
    torch.Size([1, 12, 2, 3])
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(
                f"SpaceToDepth: height and width must be multiples of {self.factor}, "
                f"found {tuple(x.shape[2:])}"
            )
        return F.pixel_unshuffle(x, self.factor)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


class ZeroChannelPad(nn.Module):
    """Appends channels of zeros up to ``channels``: room to compute in, norms unchanged.

    >>> ZeroChannelPad(8)(torch.rand(1, 3, 2, 2)).shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        missing = self.channels - x.shape[1]
        if missing < 0:
            raise ValueError(
                f"ZeroChannelPad: expected at most {self.channels} channels, found {x.shape[1]}"
            )
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "zeros appended")


class Truncate(nn.Module):
    """Keeps the first ``features`` channels, a projection.

    >>> Truncate(2)(torch.rand(1, 5)).shape
    torch.Size([1, 2])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] < self.features:
            raise ValueError(
                f"Truncate: expected at least {self.features} channels, found {x.shape[1]}"
            )
        return x[:, : self.features]

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a projection")


class SubtractMean(nn.Module):
    """Subtracts each channel's mean over the image, the projection that ignores a uniform cast.

    >>> SubtractMean()(torch.full((1, 3, 2, 2), 0.7)).abs().max().item()
    0.0
    """

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((2, 3), keepdim=True)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "an orthogonal projection")


class Flatten(nn.Module):
    """``(n, c, h, w) -> (n, c h w)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation")


class AddConstant(nn.Module):
    """Adds ``length`` / sqrt(k) to each of k values: a move by ``length``, which keeps differences.

    An embedding of length at most 1 is at least ``length`` - 1 long behind it.

    >>> AddConstant(2.0)(torch.zeros(1, 4))
    tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = float(length)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.length / math.sqrt(x.shape[1])

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a translation")


class FlipConcat(nn.Module):
    """Embeds an image and its mirror image by ``network`` and joins both, divided by sqrt 2.

    The two halves come as (z + z')/2 and |z - z'|/2, which is a rotation of (z, z')/sqrt 2 followed
    by an absolute value: the result is 1-Lipschitz when ``network`` is, keeps the norm, and is
    exactly the same for an image and its mirror image.

    >>> net = FlipConcat(Flatten())
    >>> x = torch.rand(1, 3, 2, 4)
    >>> bool(torch.equal(net(x), net(x.flip(-1))))
    True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        here, mirrored = self.network(x), self.network(x.flip(-1))
        return torch.cat((here + mirrored, (here - mirrored).abs()), 1) / 2

    def lipschitz_bound(self) -> LipschitzBound:
        inner: LipschitzBound = self.network.lipschitz_bound()  # type: ignore[operator]  # nn.Module's attributes are untyped
        return LipschitzBound(1.0, "flip concatenation / sqrt 2").compose(inner)
