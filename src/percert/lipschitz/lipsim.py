"""The 1-Lipschitz networks of LipSim: convolutional SLL, two norm-1 pools, dense SLL, truncation.

Ghazanfari et al., LipSim (ICLR 2024), section 5.2. The paper gives the numbers of layers; the
channels, the inner width of the convolutions (5, a bottleneck) and the order of the layers are
facts of the authors' public code.
"""

from dataclasses import dataclass

from torch import nn

from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.pooling import NormOnePool
from percert.lipschitz.reshape import Flatten, Truncate, ZeroChannelPad
from percert.lipschitz.sll import SLLConv, SLLDense


@dataclass(frozen=True)
class LipSimSize:
    """How large a LipSim network is. ``side`` is a multiple of 16, the two pools' reduction.

    >>> SIZES["small"].features  # values after the pools: 45 channels of 14 x 14
    8820
    """

    depth: int
    channels: int
    dense_depth: int
    dense_inner: int
    conv_inner: int = 5
    embedding: int = 1792
    side: int = 224

    @property
    def features(self) -> int:
        """The number of values after the pools, which the dense layers keep."""
        return self.channels * (self.side // 16) ** 2


#: By name. 1792 is the length of the ensemble teacher's embedding (two of 512, one of 768).
SIZES = {
    "small": LipSimSize(depth=20, channels=45, dense_depth=7, dense_inner=1024),
    "medium": LipSimSize(depth=30, channels=60, dense_depth=10, dense_inner=2048),
    "large": LipSimSize(depth=50, channels=90, dense_depth=10, dense_inner=2048),
}


def lipsim_network(size: LipSimSize, name: str = "lipsim") -> LipschitzNetwork:
    """A LipSim network with fresh random weights, 1-Lipschitz whatever its weights are.

    Images ``(n, 3, side, side)`` in [0, 1], not normalised, to ``(n, embedding)``. Raises
    ``ValueError`` for sizes that do not fit together.

    >>> tiny = LipSimSize(1, 6, 1, 4, embedding=10, side=32)
    >>> network = lipsim_network(tiny)
    >>> [type(layer).__name__ for layer in network.layers][:3]
    ['ZeroChannelPad', 'SLLConv', 'NormOnePool']
    """
    if size.side % 16 or size.embedding > size.features:
        raise ValueError(
            f"{name}: expected a side that is a multiple of 16 and at most {size.features} "
            f"embedding values, found side {size.side} and {size.embedding} values"
        )
    layers: list[nn.Module] = [ZeroChannelPad(size.channels)]
    layers += [SLLConv(size.channels, size.conv_inner) for _ in range(size.depth)]
    layers += [NormOnePool(4), NormOnePool(4), Flatten()]
    layers += [SLLDense(size.features, size.dense_inner) for _ in range(size.dense_depth)]
    layers.append(Truncate(size.embedding))
    return LipschitzNetwork(
        layers, resolution=(size.side, size.side), name=name, channels_last=True
    )
