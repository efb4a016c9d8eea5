"""A network of layers whose Lipschitz bounds are proven: its own bound is their product."""

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound


@final
class LipschitzNetwork(nn.Module):
    """Layers one after another: images ``(n, 3, h, w)`` in [0, 1] of ``resolution`` to ``(n, k)``.

    Every layer has ``lipschitz_bound()``; the product of these bounds the network, per unit of
    l2 change in the pixels of its input. With ``channels_last`` features are laid out pixel by
    pixel in evaluation, which 3 x 3 convolutions of few channels run much faster on. Raises
    ``ValueError`` for a layer without a bound, and for images of another size.

    >>> from percert.lipschitz.pooling import NormOnePool
    >>> from percert.lipschitz.reshape import Flatten
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
