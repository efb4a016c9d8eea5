"""Attacks on certified decisions, from inside the certified radius: none may succeed."""

from collections.abc import Callable

import torch

from percert.audit.report import AttackAudit
from percert.certify import Certificate, copies, twoafc
from percert.metrics.embedding import EmbeddingMetric, cosine_distance
from percert.norms import l2_norm, per_sample, project_l2
from percert.tensors import Embeddings, Images, Vector

#: The part of the certified radius that the attack may use.
INSIDE = 0.999


def attack_certificates(
    metric: EmbeddingMetric, images: Images, *, steps: int, generator: torch.Generator
) -> AttackAudit:
    """Attacks triplet and copy decisions among ``images`` (three or more) at 0.999 of their radii.

    Each image is the reference of one triplet and the moving candidate of one pair; its next ones
    in the batch are the others. Projected gradient ascent on the margin, pixels kept in [0, 1].
    """
    left, right = images.roll(1, 0), images.roll(2, 0)
    with torch.no_grad():
        judged = twoafc(metric, images, left, right)
        threshold = float(metric(left, images).double().mean().clamp(1e-4, 2))
        matched = copies(metric, left, images, threshold)

        h_left, h_right = metric.embed(left), metric.embed(right)
    closer_right = judged.decision.to(images.device) == 1
    copied = matched.decision.to(images.device).bool()

    def toward_other_side(x: Images) -> Vector:
        h = metric.embed(x)
        gap = _distance(metric, h, h_right) - _distance(metric, h, h_left)
        return torch.where(closer_right, gap, -gap)

    def across_threshold(x: Images) -> Vector:
        distance = _distance(metric, metric.embed(x), h_left)
        return torch.where(copied, distance, -distance)

    def closer(x: Images) -> Certificate:
        return twoafc(metric, x, left, right)

    def copy(x: Images) -> Certificate:
        return copies(metric, left, x, threshold)

    tried, flipped, largest = 0, 0, 0.0
    for certificate, margin, judge in (
        (judged, toward_other_side, closer),
        (matched, across_threshold, copy),
    ):
        radius = INSIDE * certificate.radius.to(images.device)
        attacked = ascend(margin, images, radius, steps=steps, generator=generator)
        with torch.no_grad():
            changed = (judge(attacked).decision != certificate.decision) & (certificate.radius > 0)
        tried += int((certificate.radius > 0).sum())
        flipped += int(changed.sum())
        largest = max(largest, float(certificate.radius.max()))
    return AttackAudit(tried, flipped, largest)


def _distance(metric: EmbeddingMetric, first: Embeddings, second: Embeddings) -> Vector:
    return cosine_distance(first, second, metric.constant)


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
