"""Pushing copies beyond the threshold, and pulling strangers below it.

Projected gradient steps in an l2 ball, clipped to [0, 1]: a plain attack (Madry et al. 2018, with
normalised steps). It gives an upper bound of what remains right; a certificate gives a lower one.
"""

import torch
from torch import Tensor

from percert.evaluation.copies_detector import Detector, attacked
from percert.norms import l2_norm, per_sample, project_l2
from percert.tensors import Images


def evade(
    detector: Detector,
    images: Images,
    references: Tensor,
    threshold: float,
    eps: float,
    steps: int,
    start: Tensor,
) -> tuple[Images, Tensor]:
    """Images within l2 ``eps`` of ``images`` that are as far from their references as was found.

    ``images`` is ``(n, 3, h, w)`` in [0, 1]; ``references`` ``(n, v, ...)`` are the vectors of v
    views each, of which the nearest counts; ``start`` is the first change of the images, shaped
    like them, projected into the ball. Returns the images and whether each is beyond ``threshold``
    before rounding; one that is, is left.
    """
    return _climb(detector, images, references, threshold, eps, steps, start, 1.0)


def collide(
    detector: Detector,
    images: Images,
    references: Tensor,
    threshold: float,
    eps: float,
    steps: int,
    start: Tensor,
) -> tuple[Images, Tensor]:
    """Images within l2 ``eps`` of ``images`` that are as near to a reference as was found.

    As :func:`evade`, the other way: whether each is within ``threshold`` of any of its views.
    """
    return _climb(detector, images, references, threshold, eps, steps, start, -1.0)


def _climb(
    detector: Detector,
    images: Images,
    references: Tensor,
    threshold: float,
    eps: float,
    steps: int,
    start: Tensor,
    sign: float,
) -> tuple[Images, Tensor]:
    """Raise ``sign`` times the distance, until it is on the other side of the threshold."""
    best = images.clone()
    most = torch.full((len(images),), -torch.inf, dtype=torch.float64)
    reached = torch.zeros(len(images), dtype=torch.bool)
    change = _into_ball(images, start, eps)
    left = torch.arange(len(images))
    for step in range(steps + 1):
        moved = (images[left] + change[left]).requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            objective, distance = attacked(detector, moved, references[left])
        more = sign * distance > most[left]
        most[left[more]] = sign * distance[more]
        best[left[more]] = moved.detach()[more]
        there = distance > threshold if sign > 0 else distance <= threshold
        reached[left[there]] = True
        if step == steps or bool(there.all()):
            break
        (gradient,) = torch.autograd.grad(sign * objective.sum(), moved)
        left, gradient = left[~there], gradient[~there]
        length = l2_norm(gradient).clamp_min(1e-30)
        stride = gradient * per_sample(2.5 * eps / steps / length, gradient)
        change[left] = _into_ball(images[left], change[left] + stride, eps)
    return best, reached


def random_start(images: Images, eps: float, seed: int) -> Tensor:
    """Gaussian noise of l2 length ``eps`` / 10: at equal images the gradient of a distance is 0."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return noise * per_sample(0.1 * eps / l2_norm(noise), noise)


def _into_ball(images: Images, change: Tensor, eps: float) -> Tensor:
    """The change projected to length ``eps``, then cut to [0, 1], which only shortens it."""
    # A hair inside, so that the length of a float32 sum is not above eps.
    budget = images.new_full((len(images),), eps * (1 - 1e-6))
    return (images + project_l2(change, budget)).clamp(0, 1) - images
