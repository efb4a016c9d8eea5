"""Pushing copies beyond the threshold: projected gradient ascent in an l2 ball, clipped to [0, 1].

A plain attack (Madry et al. 2018, with normalised steps). It gives an upper bound of what remains
detectable; a certificate gives a lower one.
"""

import torch
from torch import Tensor

from benchmarks.detectors import Detector
from percert.norms import l2_norm, per_sample, project_l2


def evade(
    detector: Detector,
    images: Tensor,
    references: Tensor,
    threshold: float,
    eps: float,
    steps: int,
    start: Tensor,
) -> tuple[Tensor, Tensor]:
    """Images within l2 ``eps`` of ``images`` whose distance to ``references`` is as large as found.

    ``images`` is ``(n, 3, h, w)`` in [0, 1]; ``references`` are description vectors, one a row;
    ``start`` is the first change of the images, ``(n, 3, h, w)``, projected into the ball. Returns
    the images and whether each is beyond ``threshold`` before rounding; one that is, is left.
    """
    best, far = images.clone(), torch.full((len(images),), -1.0, dtype=torch.float64)
    change = _into_ball(images, start, eps)
    left = torch.arange(len(images))
    for step in range(steps + 1):
        moved = (images[left] + change[left]).requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            objective, distance = detector.attacked(moved, references[left])
        further = distance > far[left]
        far[left[further]] = distance[further]
        best[left[further]] = moved.detach()[further]
        going = distance <= threshold
        if step == steps or not going.any():
            break
        (gradient,) = torch.autograd.grad(objective.sum(), moved)
        left, gradient = left[going], gradient[going]
        length = l2_norm(gradient).clamp_min(1e-30)
        stride = gradient * per_sample(2.5 * eps / steps / length, gradient)
        change[left] = _into_ball(images[left], change[left] + stride, eps)
    return best, far > threshold


def random_start(images: Tensor, eps: float, seed: int) -> Tensor:
    """Gaussian noise of l2 length ``eps`` / 10: at equal images the gradient of a distance is 0."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return noise * per_sample(0.1 * eps / l2_norm(noise), noise)


def _into_ball(images: Tensor, change: Tensor, eps: float) -> Tensor:
    """The change projected to length ``eps``, then cut to [0, 1], which only shortens it."""
    # A hair inside, so that the length of a float32 sum is not above eps.
    budget = images.new_full((len(images),), eps * (1 - 1e-6))
    return (images + project_l2(change, budget)).clamp(0, 1) - images
