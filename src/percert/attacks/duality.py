"""Wasserstein worst cases over finite sets, where the paper's Eq. 3 can be computed exactly."""

import torch
from torch import Tensor

from percert.tensors import Vector


def surrogate_values(losses: Tensor, costs: Tensor, lam: float) -> Vector:
    """phi_lambda of each sample: max_j losses[i, j] - ``lam`` costs[i, j] (Eq. 4), ``(n,)``.

    ``losses`` and ``costs`` are ``(n, m)``: sample i moved to its j-th candidate place. In
    training the candidates are the adversarial images kept of each sample, and the sample itself.

    >>> surrogate_values(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]]), 1.0)
    tensor([2.])
    """
    return (losses - lam * costs).amax(1)


def worst_case_risk(losses: Tensor, costs: Tensor, radius: float) -> tuple[float, float]:
    """sup over P with D(P, P0) <= ``radius`` of E_P loss, P0 uniform; and its multiplier lambda.

    By strong duality min_{lambda >= 0} lambda radius + mean_i phi_lambda(i) (Eq. 2 and 3; Blanchet
    and Murthy 2019), a convex, piecewise linear function of lambda, whose slope is radius minus the
    mean cost of the maximisers: its zero is bisected to the last bit. ``costs`` are not negative,
    and some candidate of each sample is free. Raises ``ValueError`` where that is not so.

    >>> worst_case_risk(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]]), 1.0)
    (2.5, 1.5)
    """
    if radius < 0 or (costs < 0).any() or (costs.amin(1) > 0).any():
        raise ValueError(
            "costs: expected none below 0, each sample with a candidate of cost 0, and a radius of "
            f"at least 0, found radius {radius}, costs from {costs.min().item():.4g}"
        )
    losses, costs = losses.double(), costs.double()

    def dual(lam: float) -> float:
        return lam * radius + surrogate_values(losses, costs, lam).mean().item()

    def spent(lam: float) -> float:
        """The least mean cost among the maximisers at lam."""
        heights = losses - lam * costs
        best = heights == heights.amax(1, keepdim=True)
        return torch.where(best, costs, torch.inf).amin(1).mean().item()

    low, high = 0.0, 1.0
    if spent(0.0) <= radius:
        return dual(0.0), 0.0
    positive = costs[costs > 0]
    spread = (losses.amax(1) - losses.amin(1)).max().item()
    high = max(1.0, spread / positive.min().item())  # beyond it nothing moves
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if spent(middle) <= radius else (middle, high)
    return dual(high), high
