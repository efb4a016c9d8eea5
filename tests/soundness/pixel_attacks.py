"""Two plain l2 attacks on images, and the gate: no decision may flip inside a certified radius.

A margin maps the images that may move, ``(n, 3, h, w)`` each, to ``(n,)``: above 0 the decision
stands, below it has flipped. Every image has its own l2 budget per row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.metrics.certified.embedding import EmbeddingMetric

Margin = Callable[..., Tensor]
#: Fractions of every radius that are attacked.
FRACTIONS = (0.5, 0.9, 0.999)


def embed(metric: EmbeddingMetric, images: Tensor, dtype: torch.dtype) -> Tensor:
    """The embedding without the check of the range: unclipped perturbations leave [0, 1]."""
    h: Tensor = metric.network(metric.resize(images.to(dtype)))
    return h.double()


def distance(a: Tensor, b: Tensor, c: float) -> Tensor:
    """The cosine distance of embeddings, in float64; rows broadcast."""
    a, b = (torch.cat([h, torch.full_like(h[..., :1], c)], dim=-1) for h in (a, b))
    a, b = (v / v.norm(dim=-1, keepdim=True).clamp_min(1e-300) for v in (a, b))
    return (a - b).square().sum(dim=-1) / 2


@dataclass(frozen=True)
class Ball:
    """The allowed images: within ``budget`` of ``centre``, and in [0, 1] where ``clip``."""

    centre: Tensor
    budget: Tensor
    clip: Tensor

    def project(self, images: Tensor) -> Tensor:
        # Clipping to [0, 1] moves towards the centre in every pixel, so it keeps the budget.
        delta = images.detach().double() - self.centre
        norm = delta.flatten(1).norm(dim=1).clamp_min(1e-300)
        delta = delta * (self.budget / norm).clamp(max=1).view(-1, 1, 1, 1)
        moved = self.centre + delta
        return torch.where(self.clip.view(-1, 1, 1, 1), moved.clamp(0, 1), moved)


def pgd(margin: Margin, balls: Sequence[Ball], steps: int) -> Tensor:
    """Projected gradient descent, normalised steps, from a random start on the sphere."""
    at = []
    for ball in balls:
        noise = torch.randn_like(ball.centre)
        scale = ball.budget / noise.flatten(1).norm(dim=1)
        at.append(ball.project(ball.centre + scale.view(-1, 1, 1, 1) * noise))
    return _descend(
        margin,
        balls,
        at,
        steps,
        lambda value, gradient, ball, step: (
            ball.budget * (2 if step == 0 else 1 + math.cos(math.pi * step / steps))
        ),
    )


def margin_attack(margin: Margin, balls: Sequence[Ball], steps: int) -> Tensor:
    """Newton steps to the boundary: as far as the linearised margin says, and a little further."""
    return _descend(
        margin,
        balls,
        [ball.centre for ball in balls],
        steps,
        lambda value, gradient, ball, step: (
            1.1 * value.abs() / gradient / len(balls) ** 0.5 + 1e-3 * ball.budget
        ),
    )


def _descend(
    margin: Margin,
    balls: Sequence[Ball],
    at: list[Tensor],
    steps: int,
    size: Callable[[Tensor, Tensor, Ball, int], Tensor],
) -> Tensor:
    best = torch.full_like(balls[0].budget, math.inf)
    for step in range(steps + 1):
        at = [images.detach().requires_grad_(True) for images in at]
        value = margin(*at)
        best = torch.minimum(best, value.detach())
        if step == steps:
            break
        gradients = torch.autograd.grad(value.sum(), at)
        moved = []
        for images, gradient, ball in zip(at, gradients, balls, strict=True):
            norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-300)
            length = size(value.detach(), norm, ball, step) / norm
            moved.append(ball.project(images - length.view(-1, 1, 1, 1) * gradient))
        at = moved
    return best


def least_margin(
    margin: Margin, images: Sequence[Tensor], radius: Tensor, *, steps: int = 6
) -> Tensor:
    """The least margin of both attacks at each of ``FRACTIONS``, clipped and not: ``(6, n)``.

    ``margin`` is called with ``(6 n, 3, h, w)`` batches: the rows of ``images``, six times.
    """
    times = 2 * len(FRACTIONS)
    fraction = torch.tensor(FRACTIONS, dtype=torch.float64).repeat_interleave(len(radius)).repeat(2)
    clip = torch.arange(times * len(radius)) < len(radius) * len(FRACTIONS)
    balls = [
        Ball(image.double().repeat(times, 1, 1, 1), radius.repeat(times) * fraction, clip)
        for image in images
    ]
    found = torch.minimum(pgd(margin, balls, steps), margin_attack(margin, balls, steps))
    return found.view(times, len(radius))


def flips(margin: Margin, images: Sequence[Tensor], radius: Tensor, *, steps: int = 6) -> int:
    """How many decisions flip inside their radius; rows whose radius is 0 are left alone."""
    assert torch.isfinite(radius).all()
    found = least_margin(margin, images, radius, steps=steps)
    return int((found < 0)[:, radius > 0].sum())
