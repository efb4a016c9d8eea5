"""The network's input of an edited image, and the seminorm in which its changes are measured.

The network is L-Lipschitz in its input A x, with A the resize. A first layer that subtracts each
channel's mean, P, ignores the constant part. So |h(x) - h(x')| <= L |P A (x - x')|. That is the
length measured here; for edits of photographs it is 3 to 9 times shorter than the norm of A times
|x - x'|. docs/concepts/certified-edits.md has the derivations.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from percert.certify.features import PixelFeatures, certifiable, features_of
from percert.device import full_precision
from percert.images.resize import resize_matrix
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.fixed_layers import SubtractMean
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.tensors import Features, Images, Vector

#: What float64 may move a pixel of an edit by: some hundred operations, on positions up to 1e5.
PIXEL_ERROR = 1e-11


@dataclass(frozen=True)
class NetworkInput:
    """The input of ``metric``'s network for images of ``size`` (height, width)."""

    metric: EmbeddingMetric
    size: tuple[int, int]

    @staticmethod
    def of(metric: Metric, size: tuple[int, int]) -> "NetworkInput":
        """Raises ``ValueError`` for a metric without a proven bound."""
        return NetworkInput(certifiable(metric), size)

    def resized(self, images: Images) -> Features:
        """A x of each image, float64 ``(n, 3, H, W)``, on the CPU."""
        with torch.no_grad():
            return self.metric.resize(images.to(self._device), dtype=torch.float64).cpu()

    def covered(self, bounds: Features) -> Vector:
        """The longest that A d can be while |d| <= ``bounds``, pixel by pixel: |A| e."""
        resize = self.metric.resize
        if resize.mode != "bicubic":  # no weight is below 0
            return self.resized(bounds).flatten(1).norm(dim=1)  # type: ignore[no-any-return]
        rows, columns = (
            torch.from_numpy(resize_matrix(inside, outside, resize.mode, resize.antialias)).abs()
            for inside, outside in zip(self.size, resize.size, strict=True)
        )
        wide = rows @ bounds.double().cpu() @ columns.T
        return wide.flatten(1).norm(dim=1)  # type: ignore[no-any-return]

    def length(self, differences: Features) -> Vector:
        """|P d| of differences of network inputs, ``(n,)``."""
        if self.blind_to_means:
            differences = differences - differences.mean((2, 3), keepdim=True)
        return differences.flatten(1).norm(dim=1)  # type: ignore[no-any-return]

    def features(self, inputs: Features) -> PixelFeatures:
        """Embeddings of network inputs ``(n, 3, H, W)``, in units of these inputs, on the CPU."""
        network: LipschitzBound = self.metric.network.lipschitz_bound()  # type: ignore[operator]  # nn.Module's attributes are untyped
        inputs = inputs.to(self._device, self.metric.precision)
        with torch.no_grad(), full_precision(inputs.device):
            embeddings = self.metric.network(inputs)
        return features_of(self.metric, embeddings, network, self.size, self.norm).cpu()

    @cached_property
    def blind_to_means(self) -> bool:
        """Whether the network's first layer is P, by exact type."""
        network = self.metric.network
        return type(network) is LipschitzNetwork and type(network.layers[0]) is SubtractMean

    @cached_property
    def norm(self) -> float:
        """The operator norm of A."""
        return self.metric.resize.norm(self.size)

    @property
    def slack(self) -> float:
        """How far float rounding can move a network input, here and when it is made again."""
        worst = PIXEL_ERROR * self.metric.resize.largest * self._root
        return 2 * (worst + self.metric.resize.rounding(self.size, 2.0**-53))

    def margin(self, eps: float = 0.0, *, rounded: bool = True) -> float:
        """How far a tamper of l2 length ``eps``, rounding to 8 bits, and slack move the input.

        Rounding moves no pixel by more than 1/510, and with it no value of the input by more than
        that times the largest row sum of |A|, at most ``resize.largest``; nor the whole by more
        than the norm of A times the length of that.
        """
        height, width = self.size
        level = 0.5 / 255
        by_value = level * self.metric.resize.largest * self._root
        by_norm = self.norm * level * math.sqrt(3 * height * width)
        return self.norm * eps + (min(by_value, by_norm) if rounded else 0.0) + self.slack

    @property
    def _root(self) -> float:
        height, width = self.metric.resolution
        return math.sqrt(3 * height * width)

    @property
    def _device(self) -> torch.device:
        return next(self.metric.network.buffers(), torch.empty(0)).device
