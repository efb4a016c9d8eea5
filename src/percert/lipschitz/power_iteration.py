"""Lower bounds of Lipschitz constants by power iteration. Never a certificate."""

from collections.abc import Callable

import torch
from torch import Tensor

from percert.lipschitz.bound import LipschitzEstimate


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
