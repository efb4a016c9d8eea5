"""Attacks on what a network proves: on its slope, and on decisions inside their certified radii.

None may succeed: a pair of images steeper than the proven bound, or one certified decision that is
turned, is a fault in a proof.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from percert.certify import Certificate, PixelFeatures, copies_of_features, twoafc_of_features
from percert.certify.features import embed
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance
from percert.tensors import Embeddings, Images, Vector, l2_norm, per_sample, project_l2


@dataclass(frozen=True)
class AttackAudit:
    """Attacks inside 0.999 of certified radii: how many, and how many changed the decision."""

    tried: int
    flipped: int
    largest_radius: float


#: The part of the certified radius that the attack may use.
INSIDE = 0.999


def attack_certificates(
    metric: EmbeddingMetric, images: Images, *, steps: int, generator: torch.Generator
) -> AttackAudit:
    """Attacks triplet and copy decisions among ``images`` (three or more) at 0.999 of their radii.

    Each image is the reference of one triplet and the moving candidate of one pair; its next ones
    in the batch are the others. Projected gradient ascent on the margin, pixels kept in [0, 1].
    """
    given = embed(metric, images)
    left, right = _next(given, 1), _next(given, 2)
    with torch.no_grad():
        h = metric.embed(images)
        h_left, h_right = h.roll(1, 0), h.roll(2, 0)
        threshold = float(_distance(metric, h, h_left).double().mean().clamp(1e-4, 2))

    def closer(moved: PixelFeatures) -> Certificate:
        return twoafc_of_features(moved, left, right)

    def copied(moved: PixelFeatures) -> Certificate:
        return copies_of_features(left, moved, threshold)

    def toward_right(x: Images) -> Vector:
        moved = metric.embed(x)
        return _distance(metric, moved, h_left) - _distance(metric, moved, h_right)

    def away(x: Images) -> Vector:
        return _distance(metric, metric.embed(x), h_left)

    tried, flipped, largest = 0, 0, 0.0
    # A decision of 0 is left, or not a copy: the one that ascent moves away from is named here.
    for judge, climb, ascending_from in ((closer, toward_right, 0), (copied, away, 1)):
        certificate = judge(given)
        decision = certificate.decision.to(images.device)
        sign = torch.where(decision == ascending_from, 1.0, -1.0).to(images)

        def objective(
            x: Images, climb: Callable[[Images], Vector] = climb, sign: Vector = sign
        ) -> Vector:
            return sign * climb(x)

        radius = INSIDE * certificate.radius.to(images.device)
        attacked = ascend(objective, images, radius, steps=steps, generator=generator)
        changed = judge(embed(metric, attacked)).decision != certificate.decision
        certified = certificate.radius > 0
        tried += int(certified.sum())
        flipped += int((changed & certified).sum())
        largest = max(largest, float(certificate.radius.max()))
    return AttackAudit(tried, flipped, largest)


def ascend(
    objective: Callable[[Images], Vector],
    images: Images,
    radius: Vector,
    *,
    steps: int,
    generator: torch.Generator,
) -> Images:
    """Images inside the l2 balls of ``radius`` ``(n,)`` and [0, 1] that raise ``objective``."""
    # An infinite radius means that nothing flips; the image diameter then bounds any step.
    limit = radius.to(images).clamp_max(float(images[0].numel()) ** 0.5)
    start = torch.randn(images.shape, generator=generator).to(images)
    moved = (images + project_l2(start, limit / 2)).clamp(0, 1)
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        with torch.enable_grad():
            value = objective(moved).sum()
        (gradient,) = torch.autograd.grad(value, moved)
        unit = gradient / per_sample(l2_norm(gradient).clamp_min(1e-30), gradient)
        step = moved.detach() + per_sample(limit / 2, unit) * unit
        # Clipping to [0, 1] moves towards the original: it cannot leave the ball.
        moved = (images + project_l2(step - images, limit)).clamp(0, 1)
    return moved.detach()


def _next(features: PixelFeatures, places: int) -> PixelFeatures:
    """The features of the images ``places`` further on in the batch."""
    return features.rows(torch.arange(len(features.h)).roll(places))


def _distance(metric: EmbeddingMetric, first: Embeddings, second: Embeddings) -> Vector:
    return cosine_distance(first, second, metric.constant)


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
