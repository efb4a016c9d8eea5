"""Norms of linear maps: exact by SVD, bounded above, and from below by power iteration.

:func:`singular_values` writes the whole matrix down and is the oracle of tests. A proof may use
:func:`dense_norm` and :func:`convolution_norm`, upper bounds in float64. :func:`jacobian_norm` is a
lower bound, and so never a certificate.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from percert.lipschitz.bound import LipschitzEstimate

#: float64 entries of the largest matrix written down: 2 GiB.
MOST_ENTRIES = 2**28


def operator_matrix(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], *, rows: int = 4096
) -> Tensor:
    """The matrix ``(outputs, inputs)`` of an affine map of tensors of ``shape`` (without batch).

    The map is applied to the identity, ``rows`` columns at a time, in float64 (it must accept
    that), and its value at 0 is subtracted. Raises ``ValueError`` where the identity is too large
    to write down.

    >>> operator_matrix(lambda x: 3 * x.flip(1) + 1, (2,))
    tensor([[0., 3.],
            [3., 0.]], dtype=torch.float64)
    """
    inputs = math.prod(shape)
    if inputs**2 > MOST_ENTRIES:
        raise ValueError(
            f"operator_matrix: the identity of shape {shape} has {inputs}^2 entries, "
            f"more than {MOST_ENTRIES}; take a smaller image"
        )
    with torch.no_grad():
        offset = function(torch.zeros(1, *shape, dtype=torch.float64)).flatten(1)
        identity = torch.eye(inputs, dtype=torch.float64)
        columns = [
            function(part.reshape(-1, *shape)).flatten(1) - offset
            for part in torch.split(identity, rows)
        ]
    return torch.cat(columns).T


def singular_values(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """Every singular value of an affine map of tensors of ``shape``, falling, in float64.

    >>> singular_values(lambda x: x[:, :1] - x[:, 1:], (2,))
    tensor([1.4142], dtype=torch.float64)
    """
    values: Tensor = torch.linalg.svdvals(operator_matrix(function, shape))
    return values


def jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """The Jacobian ``(outputs, inputs)`` at one ``point`` (without batch), by autograd.

    >>> jacobian(lambda x: x.abs(), torch.tensor([-2.0, 3.0])).diag()
    tensor([-1.,  1.])
    """
    rows: Tensor = torch.autograd.functional.jacobian(lambda x: function(x[None])[0], point)  # type: ignore[no-untyped-call]  # torch's functional API is untyped
    return rows.flatten(-point.ndim).flatten(0, -2)


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


def jacobian_norm(
    function: Callable[[Tensor], Tensor],
    point: Tensor,
    *,
    steps: int = 20,
    generator: torch.Generator | None = None,
) -> LipschitzEstimate:
    """The Jacobian's largest singular value at ``point`` (with batch), from below.

    Power iteration on J^T J. Each step's |J u|, u a unit vector, is itself a lower bound of the
    function's Lipschitz constant; the largest is returned.

    >>> estimate = jacobian_norm(lambda x: 3 * x, torch.zeros(1, 4))
    >>> round(estimate.value, 5)
    3.0
    """
    direction = torch.randn(point.shape, generator=generator, dtype=point.dtype).to(point.device)
    largest = 0.0
    with torch.enable_grad():
        point = point.detach().clone().requires_grad_(True)
        output = function(point)
        # J^T w is linear in w, so its gradient with respect to w, against u, is J u.
        weights = torch.zeros_like(output, requires_grad=True)
        (pulled,) = torch.autograd.grad(output, point, weights, create_graph=True)
    for _ in range(steps):
        norm = direction.norm()
        if not bool(norm > 0):
            break  # J^T J u = 0: nothing to find this way
        (pushed,) = torch.autograd.grad(pulled, weights, direction / norm, retain_graph=True)
        largest = max(largest, float(pushed.norm()))
        (direction,) = torch.autograd.grad(output, point, pushed, retain_graph=True)
    return LipschitzEstimate(largest, f"power iteration, {steps} steps")
