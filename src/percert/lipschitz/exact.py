"""The exact singular values of any linear map, by writing its matrix down: the oracle of tests."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

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
