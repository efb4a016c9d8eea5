"""Pairs of images that maximise |h(x) - h(x')| / |x - x'|, by gradient ascent."""

import torch

from percert.metrics.embedding import EmbeddingMetric
from percert.norms import l2_norm, per_sample
from percert.tensors import Images

#: l2 lengths of the pairs' differences: well above float32 rounding, and up to a visible change.
LENGTHS = (0.3, 3.0)


def steepest_pair(
    metric: EmbeddingMetric,
    exact: EmbeddingMetric,
    images: Images,
    *,
    steps: int,
    generator: torch.Generator,
) -> float:
    """The steepest slope of the embedding found at ``images``, in units of the proven bound.

    Starts from a random direction and goes on in that of the gradient of |h(x + d) - h(x)|^2,
    which for a linear map is power iteration. The search runs on ``metric``; the slopes that count
    are computed by ``exact``, its copy in float64, resize included.
    """
    bound = metric.bound((images.shape[2], images.shape[3])).value
    steepest = 0.0
    with torch.no_grad():
        start, start_exact = metric.embed(images), exact.embed(images)
    for length in LENGTHS:
        direction = torch.randn(images.shape, generator=generator).to(images)
        for _ in range(steps):
            direction = direction / per_sample(l2_norm(direction), direction)
            moved = (images + length * direction).clamp(0, 1).requires_grad_(True)
            with torch.enable_grad():
                gain = (metric.embed(moved) - start).square().sum()
            (direction,) = torch.autograd.grad(gain, moved)
            if not bool((l2_norm(direction) > 0).all()):
                break
        with torch.no_grad():
            moved = moved.detach()
            rise = l2_norm(exact.embed(moved) - start_exact)
            run = l2_norm(moved.double() - images.double())
        slopes = rise[run > 0] / run[run > 0] / bound
        if len(slopes):
            steepest = max(steepest, float(slopes.max()))
    return steepest
