"""Resizing as an explicit linear map, dense float64 matrices, with its exact operator norm."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.check import PIXEL_TOLERANCE, check_choice

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


#: Output lines that are computed together on a CPU: each strip reads only the input lines it needs.
STRIP = 16


@dataclass(frozen=True)
class Resize:
    """Resizes ``(n, c, h, w)`` to ``size``: ``A_rows @ image @ A_columns.T``, linear in the pixels.

    ``bicubic`` and ``bilinear`` (with or without ``antialias``) and ``area`` are those of
    ``torch.nn.functional.interpolate`` (``align_corners=False``). ``box`` is the exact average
    over each output pixel's area, with input pixels cut in part, where ``area`` takes them whole:
    its norm is sqrt(H W / (h w)), the least of all maps that keep a constant image (such a map
    shrinks the all-ones image by just that). ``antialias`` means nothing to these two. Bicubic
    values may leave [0, 1] a little; they are not clipped, for that would no longer be linear.

    An image that has the size already is returned as it is.

    >>> resize = Resize((2, 2), "box")
    >>> resize(torch.arange(16.0).view(1, 1, 4, 4))
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    >>> round(resize.norm((4, 4)), 12)
    0.5
    """

    size: tuple[int, int]
    mode: Literal["bicubic", "bilinear", "area", "box"] = "bicubic"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_choice(self.mode, ("bicubic", "bilinear", "area", "box"), "mode")
        object.__setattr__(self, "size", _check_size(self.size))

    def __call__(self, images: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """``(n, c, *size)`` of ``(n, c, h, w)``, computed in ``dtype`` (theirs); differentiable."""
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"images: expected a float tensor (n, c, h, w), "
                f"found {images.dtype} {tuple(images.shape)}"
            )
        height, width = _check_size((images.shape[2], images.shape[3]))
        dtype = dtype or images.dtype
        if (height, width) == self.size:
            return images.to(dtype)
        if torch.compiler.is_compiling():
            return self._traced(images.to(dtype), height, width)
        rows = _line(height, self.size[0], self.mode, self.antialias, dtype, images.device)
        columns = _line(width, self.size[1], self.mode, self.antialias, dtype, images.device)
        # Whichever direction first makes the two together cheaper.
        rows_first = rows.price * width + self.size[0] * columns.price
        columns_first = height * columns.price + rows.price * self.size[1]
        if rows_first <= columns_first:
            return _apply_columns(columns, _apply_rows(rows, images))
        return _apply_rows(rows, _apply_columns(columns, images))

    def _traced(self, images: Tensor, height: int, width: int) -> Tensor:
        """The same for ``torch.compile`` and export: two constants, two products, no cache."""
        # To be an argument of a constant, a value must not stay symbolic: measuring a range,
        # formatting and bool() make the compiler settle it.
        height, width = len(range(height)), len(range(width))
        tall, wide = len(range(self.size[0])), len(range(self.size[1]))
        how = f"{self.mode}", bool(self.antialias), images.dtype, images.device
        rows: Tensor = _constant(height, tall, *how)
        columns: Tensor = _constant(width, wide, *how)
        if tall * width * (height + wide) <= height * wide * (width + tall):
            return (rows @ images) @ columns.T
        return rows @ (images @ columns.T)

    def norm(self, resolution: tuple[int, int]) -> float:
        """The l2 operator norm of the map of ``(h, w)`` images, exact up to float64 rounding.

        It is sigma(A_rows) * sigma(A_columns), for the map is their Kronecker product (the same
        one in every channel): the l2 length of any change of the pixels grows by at most this.

        >>> round(Resize((224, 224), "bicubic", antialias=False).norm((64, 64)), 2)
        3.61
        """
        height, width = _check_size(resolution)
        return _line_norm(height, self.size[0], self.mode, self.antialias) * _line_norm(
            width, self.size[1], self.mode, self.antialias
        )

    @property
    def largest(self) -> float:
        """A bound of the absolute values of resized images in [0, 1], whatever their size.

        Weights are at least 0 and sum to 1, but for bicubic ones: their absolute values sum to at
        most 1.375 along each direction.

        >>> Resize((2, 2), "box").largest, Resize((2, 2), "bicubic").largest
        (1.0, 2.0)
        """
        return 2.0 if self.mode == "bicubic" else 1.0

    def rounding(self, resolution: tuple[int, int], unit: float) -> float:
        """A bound of the l2 error of a resized image in [0, 1], computed with roundoff ``unit``.

        An output is a sum of products, along one direction and then the other, of weights and
        pixels that are rounded once themselves: it is off by at most gamma_n times the sum of the
        absolute values, for n the number of weights that are not 0 in both directions and 4.
        """
        (tall, rows), (wide, columns) = self._lines(resolution)
        share = (rows + columns + 4) * unit
        if share >= 1:
            return math.inf
        largest = (1 + PIXEL_TOLERANCE) * tall * wide
        return share / (1 - share) * largest * math.sqrt(3 * self.size[0] * self.size[1])

    def _lines(self, resolution: tuple[int, int]) -> list[tuple[float, int]]:
        return [
            _line_sizes(inside, outside, self.mode, self.antialias)
            for inside, outside in zip(_check_size(resolution), self.size, strict=True)
        ]


class _Strip(NamedTuple):
    """Some output lines, and the input lines ``start`` to ``stop`` that they are made of."""

    start: int
    stop: int
    weights: Tensor


class _Line(NamedTuple):
    """One direction of a resize: its matrix in strips, and their multiplications."""

    strips: tuple[_Strip, ...]
    price: int


@lru_cache(maxsize=64)
def _line(
    inside: int, outside: int, mode: str, antialias: bool, dtype: torch.dtype, device: torch.device
) -> _Line:
    matrix = resize_matrix(inside, outside, mode, antialias)
    # A GPU does the whole product faster than its strips.
    height = STRIP if device.type == "cpu" else outside
    strips = []
    # Made for autograd even if the first call is made in inference mode: this is kept.
    with torch.inference_mode(False):
        dense = torch.from_numpy(matrix).to(device, dtype)
        for top in range(0, outside, height):
            used = np.flatnonzero(matrix[top : top + height].any(axis=0))
            start, stop = int(used[0]), int(used[-1]) + 1
            strips.append(_Strip(start, stop, dense[top : top + height, start:stop].contiguous()))
    return _Line(tuple(strips), sum(strip.weights.numel() for strip in strips))


def _constant(
    inside: int, outside: int, mode: str, antialias: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    matrix = resize_matrix(inside, outside, mode, antialias)
    return torch.from_numpy(matrix).to(device, dtype)


# What torch.compiler.assume_constant_result does, which loads the compiler for it: 0.9 s of every
# program that resizes an image, where next to none compiles.
_constant._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _apply_rows(line: _Line, images: Tensor) -> Tensor:
    # A strip at a time is brought to the weights' precision: a copy of it all would be slow.
    return torch.cat(
        [
            strip.weights @ images[..., strip.start : strip.stop, :].to(strip.weights.dtype)
            for strip in line.strips
        ],
        dim=-2,
    )


def _apply_columns(line: _Line, images: Tensor) -> Tensor:
    planes = images.flatten(0, 1)
    # bmm reads the slices where they lie; a plain product would copy each first.
    parts = [
        planes[..., strip.start : strip.stop]
        .to(strip.weights.dtype)
        .bmm(strip.weights.T.expand(len(planes), -1, -1))
        for strip in line.strips
    ]
    outside = sum(len(strip.weights) for strip in line.strips)
    return torch.cat(parts, dim=-1).view(*images.shape[:3], outside)


@lru_cache(maxsize=4096)
def _line_norm(inside: int, outside: int, mode: str, antialias: bool) -> float:
    """The largest singular value, as the root of that of the smaller Gram matrix's eigenvalues.

    Rounded up by what the eigenvalues of a matrix of that size may be off.
    """
    if inside == outside:
        return 1.0
    matrix = resize_matrix(inside, outside, mode, antialias)
    gram = matrix @ matrix.T if outside <= inside else matrix.T @ matrix
    return float(np.sqrt(np.linalg.eigvalsh(gram)[-1])) * (1 + max(inside, outside) * 2.0**-52)


@lru_cache(maxsize=4096)
def _line_sizes(inside: int, outside: int, mode: str, antialias: bool) -> tuple[float, int]:
    """The largest row sum of absolute values, and the most weights in a row that are not 0."""
    if inside == outside:
        return 1.0, 1
    matrix = resize_matrix(inside, outside, mode, antialias)
    sums = np.abs(matrix).sum(axis=1).max()
    return float(sums), int(np.count_nonzero(matrix, axis=1).max())


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size: expected (height, width) of at least 1 pixel, found {tuple(size)}")
    return int(size[0]), int(size[1])
