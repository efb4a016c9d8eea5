"""The weights of one-dimensional image resizing, as dense float64 matrices."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def resize_matrix(inside: int, outside: int, mode: str, antialias: bool) -> Matrix:
    """The ``(outside, inside)`` matrix that resizes a line of ``inside`` pixels to ``outside``.

    Pixels are unit intervals (``align_corners=False``). Each row sums to 1.

    >>> resize_matrix(4, 2, "area", True)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    if mode == "area":
        return _area(inside, outside)
    if mode == "box":
        return _box(inside, outside)
    kernel, support, plain_sharpness, smooth_sharpness = {
        "bilinear": (_triangle, 1, 0.0, 0.0),
        "bicubic": (_cubic, 2, -0.75, -0.5),
    }[mode]
    if antialias:
        return _antialiased(inside, outside, kernel, support, smooth_sharpness)
    return _plain(inside, outside, kernel, support, plain_sharpness)


def _triangle(x: Matrix, _: float) -> Matrix:
    weights: Matrix = np.maximum(0, 1 - np.abs(x))
    return weights


def _cubic(x: Matrix, a: float) -> Matrix:
    """Keys' cubic convolution; torch has a = -0.75 as OpenCV, antialiased a = -0.5 as pillow."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


_Kernel = Callable[[Matrix, float], Matrix]


def _antialiased(inside: int, outside: int, kernel: _Kernel, support: int, a: float) -> Matrix:
    """The kernel widened to the reduction; where it leaves the image, the rest is rescaled to 1."""
    scale = inside / outside
    wide = max(scale, 1.0)
    centre = (np.arange(outside) + 0.5) * scale
    distance = np.arange(inside) + 0.5 - centre[:, None]
    weights: Matrix = np.where(np.abs(distance) < support * wide, kernel(distance / wide, a), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _plain(inside: int, outside: int, kernel: _Kernel, support: int, a: float) -> Matrix:
    """The kernel at its own width; beyond the image, the border pixel is repeated."""
    centre = (np.arange(outside) + 0.5) * (inside / outside) - 0.5
    first = np.floor(centre).astype(np.int64) - support + 1
    weights = np.zeros((outside, inside))
    rows = np.arange(outside)
    for tap in range(2 * support):
        index = first + tap
        np.add.at(weights, (rows, index.clip(0, inside - 1)), kernel(index - centre, a))
    return weights


def _area(inside: int, outside: int) -> Matrix:
    """Averages over whole pixels: all that the interval touches (adaptive average pooling)."""
    row = np.arange(outside)[:, None]
    first, end = row * inside // outside, -((-(row + 1) * inside) // outside)
    column = np.arange(inside)
    return ((column >= first) & (column < end)) / (end - first)


def _box(inside: int, outside: int) -> Matrix:
    """Averages over the exact interval, the pixels at its ends in part. Integers until the end."""
    row, column = np.arange(outside)[:, None], np.arange(inside)
    end = np.minimum((row + 1) * inside, (column + 1) * outside)
    start = np.maximum(row * inside, column * outside)
    weights: Matrix = np.maximum(0, end - start) / inside
    return weights
