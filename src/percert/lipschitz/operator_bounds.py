"""Upper bounds of operator norms, in float64: what a proof may use."""

import torch
from torch import Tensor


def dense_norm(matrix: Tensor) -> float:
    """The largest singular value of a ``(outputs, inputs)`` matrix, exact up to float64 rounding.

    By the eigenvalues of the smaller of its two Gram matrices.

    >>> dense_norm(torch.tensor([[3.0, 4.0]]))
    5.0
    """
    matrix = matrix.double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    largest = torch.linalg.eigvalsh(gram)[-1]
    return float(largest.clamp_min(0).sqrt())


def convolution_norm(
    kernel: Tensor, size: tuple[int, int], *, period: tuple[int, int] | None = None
) -> float:
    """A bound of the norm of a zero-padded, stride-1 convolution of images of ``size``.

    The convolution by a ``kernel`` ``(outputs, inputs, k, k)`` is a part of the periodic one on an
    image of ``period`` >= size + k - 1, whose norm is the largest over all frequencies of that of
    an ``(outputs, inputs)`` matrix (Sedghi, Gupta and Long, 2019). A shorter period would wrap the
    kernel onto itself and could under-report: ``ValueError``.

    >>> convolution_norm(torch.ones(1, 1, 3, 3), (4, 4))
    9.0
    """
    least = (size[0] + kernel.shape[2] - 1, size[1] + kernel.shape[3] - 1)
    period = least if period is None else period
    if period[0] < least[0] or period[1] < least[1]:
        raise ValueError(
            f"convolution_norm: expected a period of at least {least} for images of {size}, "
            f"found {period}"
        )
    # Real kernels: the other half of the frequencies are conjugates.
    spectrum = torch.fft.rfft2(kernel.double(), s=period).permute(2, 3, 0, 1).flatten(0, 1)
    if spectrum.shape[1] > spectrum.shape[2]:
        spectrum = spectrum.mT
    largest = 0.0
    for part in torch.split(spectrum, 4096):
        gram = part @ part.mH
        largest = max(largest, float(torch.linalg.eigvalsh(gram)[:, -1].max()))
    return float(max(largest, 0.0) ** 0.5)
