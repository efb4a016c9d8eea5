"""The network of ``lipsim-tiny``: orthogonal mixing at 64 px, blind to left and right."""

from dataclasses import dataclass
from itertools import chain

from torch import nn

from percert.lipschitz.haar import MirrorHaar
from percert.lipschitz.half_abs import HalfAbs
from percert.lipschitz.mirror import MirrorFold, MirrorLift, MirrorZeroPad
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.reshape import SubtractMean
from percert.lipschitz.sll import SLLDense

#: Every embedded photograph is first resized to this height and width.
RESOLUTION = (64, 64)


@dataclass(frozen=True)
class TinyShape:
    """How wide and deep: ``width`` channels at 16 x 16, doubled at 8 x 8 and again at 4 x 4.

    ``depths`` are the mixing blocks at each of the three, ``embedding`` the length of the result,
    ``dense`` the number of dense SLL layers with ``inner`` hidden units at its end.
    """

    width: int = 96
    depths: tuple[int, int, int] = (3, 3, 3)
    embedding: int = 1024
    dense: int = 1
    inner: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.width < 48 or self.width % 8 or self.embedding % 16:
            raise ValueError(
                "TinyShape: expected a width of at least 48 that 8 divides, and an embedding that "
                f"16 divides, found {self.width} and {self.embedding}"
            )


def tiny_network(shape: TinyShape | None = None) -> LipschitzNetwork:
    """Images ``(n, 3, 64, 64)`` in [0, 1] to embeddings ``(n, shape.embedding)``, 1-Lipschitz.

    Subtracts the mean colour, folds 4 x 4 pixels, mixes; then three times folds 2 x 2 pixels by
    their Haar transform and keeps as many channels as the shape says. Every layer but the dense
    SLL keeps norms or is a learned projection, so energy is lost only where training drops it. An
    image and its mirror image have the very same embedding.

    >>> import torch
    >>> network = tiny_network(TinyShape(width=48, depths=(1, 1, 1), embedding=64))
    >>> network(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 64])
    """
    shape = shape or TinyShape()
    wide = shape.width
    last = shape.embedding // 4
    layers: list[nn.Module] = [SubtractMean(), MirrorLift(4), MirrorZeroPad(wide)]
    layers += [OrthogonalMix(wide, mirror=True), HalfAbs(), *_blocks(wide, shape.depths[0])]
    for channels, depth in ((2 * wide, shape.depths[1]), (4 * wide, shape.depths[2])):
        layers += [MirrorHaar(), OrthogonalMix(2 * channels, channels, mirror=True), HalfAbs()]
        layers += _blocks(channels, depth)
    layers += [MirrorHaar(), OrthogonalMix(16 * wide, last, mirror=True), MirrorFold()]
    layers += [SLLDense(shape.embedding, shape.inner) for _ in range(shape.dense)]
    for layer in layers:
        if isinstance(layer, OrthogonalMix):
            # Near the identity the network starts as a norm-1 thumbnail, which is a good start.
            layer.square.data.mul_(0.1)
    return LipschitzNetwork(layers, resolution=RESOLUTION, name="lipsim-tiny")


def _blocks(channels: int, depth: int) -> list[nn.Module]:
    return list(
        chain.from_iterable(
            (Shift(mirror=True), OrthogonalMix(channels, mirror=True), HalfAbs())
            for _ in range(depth)
        )
    )
