"""Gaussian blur, sampled and normalised weights, the image mirrored at its edges."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.images.resize import resize_matrix
from percert.tensors import Features

_Floats = npt.NDArray[np.float64]
#: Below this sigma, in pixels, a kernel is compared with the identity.
LEAST_SIGMA = 0.2
#: Pixels that a kernel reaches to either side, whatever its sigma: four of the largest sigma.
TAPS = 60
LARGEST_SIGMA = 15.0


def kernel(sigma: float, taps: int = TAPS) -> _Floats:
    """The weights at 0, 1 ... ``taps`` pixels, which sum to 1 over both sides.

    >>> kernel(0.0, 2)
    array([1., 0., 0.])
    """
    distance = np.arange(taps + 1, dtype=np.float64)
    if sigma == 0:
        identity: _Floats = np.where(distance == 0, 1.0, 0.0)
        return identity
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    found: _Floats = weights / _both_sides(weights)
    return found


def _both_sides(weights: _Floats) -> float:
    return float(weights[0]) + 2 * float(weights[1:].sum())


def change_of_kernel(a: float, b: float, taps: int = TAPS) -> float:
    """How far blur kernels between ``a`` and ``b`` leave the straight line between these two.

    In the sum of absolute weights, of the two-dimensional kernel, 0 <= a < b. Each weight w_i has
    the slope w_i (i^2 - V) / sigma^3 with V the kernel's variance; g_i = exp(-i^2 / 2 sigma^2), its
    sum and V all rise with sigma, which bounds the slope on [a, b], and a weight whose slopes lie
    in [m, M] leaves its line by at most (M - m)(b - a) / 4. With D the change of the
    one-dimensional kernel from a to b and e the sum of these, the product of two leaves its line by
    D^2 / 4 + 2 e + e^2.
    """
    if a < LEAST_SIGMA:
        # Kernel and line are both as near to the identity as the kernel at b: of that, a weight of
        # 1 - w_0^2 lies elsewhere.
        return 4 * (1 - float(kernel(b, taps)[0]) ** 2)
    i = np.arange(taps + 1, dtype=np.float64)
    g_low, g_high = (np.exp(-(i**2) / (2 * sigma**2)) for sigma in (a, b))
    low, high = g_low / _both_sides(g_high), np.minimum(g_high / _both_sides(g_low), 1.0)
    v_low, v_high = (_both_sides(i**2 * kernel(sigma, taps)) for sigma in (a, b))
    pull_low, pull_high = i**2 - v_high, i**2 - v_low
    ends = [
        weight * pull / cube
        for weight in (low, high)
        for pull in (pull_low, pull_high)
        for cube in (a**3, b**3)
    ]
    spread = (np.max(ends, axis=0) - np.min(ends, axis=0)) * (b - a) / 4
    e = _both_sides(spread)
    d = _both_sides(np.abs(kernel(b, taps) - kernel(a, taps)))
    return float(d * d / 4 + 2 * e + e * e)


@dataclass(frozen=True)
class Blur:
    """The path of ``picture`` ``(3, h, w)``, float64, under blurs of sigma from 0 to 15 pixels."""

    picture: Tensor
    seen: NetworkInput

    def _line(self, length: int, sigma: float) -> Tensor:
        """The matrix that blurs a line of ``length`` pixels, mirrored with its edge repeated."""
        weights = kernel(sigma)
        found = np.zeros((length, length))
        rows = np.arange(length)
        for step in range(-TAPS, TAPS + 1):
            at = (rows + step) % (2 * length)
            at = np.where(at >= length, 2 * length - 1 - at, at)
            np.add.at(found, (rows, at), weights[abs(step)])
        return torch.from_numpy(found)

    def image(self, t: float) -> Tensor:
        """The edited image, ``(3, h, w)``."""
        _, height, width = self.picture.shape
        blurred = self._line(height, t) @ self.picture @ self._line(width, t).T
        return blurred.clamp(0, 1)

    def inputs(self, values: list[float]) -> Features:
        """What the network sees at each of ``values``: blur and resize multiplied beforehand."""
        return torch.stack([self._resized(t) for t in values])

    def _resized(self, t: float) -> Tensor:
        resize = self.seen.metric.resize
        rows, columns = (
            torch.from_numpy(resize_matrix(inside, outside, resize.mode, resize.antialias))
            @ self._line(inside, t)
            for inside, outside in zip(self.picture.shape[1:], resize.size, strict=True)
        )
        return rows @ self.picture @ columns.T

    @cached_property
    def _length(self) -> float:
        """Of the image less each channel's mean, which no blur changes."""
        return float((self.picture - self.picture.mean((1, 2), keepdim=True)).norm())

    def remainder(self, a: float, b: float) -> float:
        """How far the network's input leaves the straight line between those at a and b.

        A symmetric kernel on an image that is mirrored at its edges has the cosines for
        eigenvectors, and no eigenvalue is larger than the sum of its absolute weights.
        """
        changed = change_of_kernel(min(a, b), max(a, b))
        return self.seen.norm * self._length * changed
