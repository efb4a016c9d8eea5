"""Conjugate gradients: a linear equation for each image, with a symmetric operator."""

from collections.abc import Callable

import torch
from torch import Tensor

from percert.tensors import Features


def conjugate_gradients(
    operator: Callable[[Features], Features],
    right: Features,
    *,
    diagonal: Features | None = None,
    damping: float = 0.0,
    iterations: int = 50,
    tolerance: float = 1e-4,
    going: Callable[[], bool] | None = None,
) -> Features:
    """The ``x`` with ``operator(x) + damping x = right``, image by image; both ``(n, c, h, w)``.

    ``operator`` is linear and symmetric, and mixes no images (a ``SSIMCurvature`` is one);
    ``diagonal``, its own diagonal, preconditions it, which for SSIM saves most of the iterations.
    An image is done when its residual, in the preconditioner's norm, has fallen by ``tolerance``;
    all stop after ``iterations``, and between two of them where ``going()`` is not true. An image
    that meets a direction of no or negative curvature keeps what it has, at least the
    preconditioned right side, so that the result never points uphill. Raises ``ValueError`` for
    settings that make no sense (Hestenes and Stiefel, 1952).

    >>> def halve(x):
    ...     return x / 2
    >>> conjugate_gradients(halve, torch.ones(1, 1, 1, 2))
    tensor([[[[2., 2.]]]])
    """
    if iterations < 1 or damping < 0 or tolerance < 0:
        raise ValueError(
            "conjugate gradients: expected iterations of at least 1, damping and tolerance of at "
            f"least 0, found {iterations}, {damping} and {tolerance}"
        )
    scale = torch.ones_like(right) if diagonal is None else diagonal + damping
    scale = scale.clamp_min(torch.finfo(right.dtype).tiny).reciprocal()
    solution, residual = torch.zeros_like(right), right
    search = guided = scale * residual
    product = _dot(residual, guided)
    enough = tolerance**2 * product
    running = product > 0
    for iteration in range(iterations):
        if not running.any() or (iteration and going is not None and not going()):
            break
        image = operator(search) + damping * search
        curvature = _dot(search, image)
        downhill = running & (curvature > 0)
        if iteration == 0:
            solution = torch.where((running & ~downhill), guided, solution)
        length = torch.where(downhill, product / curvature, 0)
        solution = torch.addcmul(solution, length, search)
        residual = torch.addcmul(residual, length, image, value=-1)
        guided = scale * residual
        latest = _dot(residual, guided)
        running = downhill & (latest > enough)
        ratio = torch.where(running, latest / product, 0)
        search = torch.addcmul(guided, ratio, search)
        product = latest
    return solution


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of each image pair, ``(n, 1, 1, 1)``."""
    return (first * second).flatten(1).sum(1).view(-1, 1, 1, 1)
