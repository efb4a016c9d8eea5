"""Average pooling scaled to norm exactly 1."""

import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound


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
