"""Random embeddings and attacks on them, written without any of percert's own formulas."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, pixel_features
from percert.lipschitz.bound import LipschitzBound

BOUND = LipschitzBound(1.0, "the embedding itself is perturbed")


def random_embeddings(
    seed: int, count: int, k: int, batch: int = 200, spread: float = 0.6
) -> list[Tensor]:
    """``count`` related batches ``(batch, k)``, float64, with norms from 0.01 to 100."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    centre = normal(batch, k)
    drawn = []
    for _ in range(count):
        direction = centre + spread * normal(batch, k)
        size = 10 ** (torch.rand(batch, 1, generator=generator, dtype=torch.float64) * 4 - 2)
        drawn.append(size * direction / direction.norm(dim=1, keepdim=True))
    return drawn


def features(h: Tensor, c: float = 0.0, *, feature_error: float = 0.0) -> PixelFeatures:
    return pixel_features(h, BOUND, constant=c, feature_error=feature_error)


def direction(h: Tensor, c: float = 0.0) -> Tensor:
    v = torch.cat([h, torch.full_like(h[..., :1], c)], dim=-1)
    return v / v.norm(dim=-1, keepdim=True)


def cosine_distance(a: Tensor, b: Tensor, c: float = 0.0) -> Tensor:
    return (direction(a, c) - direction(b, c)).square().sum(-1) / 2


def turned(h: Tensor, other: Tensor, length: Tensor, *, away: bool) -> Tensor:
    """``h`` moved by ``length`` so that it turns as far as it can, towards or away from ``other``.

    For c = 0: the move of the tangent, to norm sqrt(|h|^2 - length^2), in the plane of the two; it
    goes no further than onto the ray of ``other`` or of its opposite.
    """
    norm = h.norm(dim=-1, keepdim=True)
    g, target = h / norm, other / other.norm(dim=-1, keepdim=True)
    if away:
        target = -target
    tangent = target - (target * g).sum(-1, keepdim=True) * g
    size = tangent.norm(dim=-1, keepdim=True)
    # Where h lies on the ray already, the tangent is rounding: it stays there.
    tangent = torch.where(size > 1e-9, tangent / size, 0.0)
    gap = torch.atan2((target * tangent).sum(-1), (target * g).sum(-1))[..., None]
    phi = torch.minimum((length[..., None] / norm).clamp(max=1).asin(), gap)
    moved = norm * phi.cos() * (phi.cos() * g + phi.sin() * tangent)
    return torch.where(length[..., None] >= norm, 1e-9 * norm * target, moved)


def both_turned(
    a: Tensor, b: Tensor, lengths: Sequence[Tensor], *, away: bool
) -> tuple[Tensor, Tensor]:
    """First ``a`` turns, then ``b`` by what is left: neither passes the other or its opposite."""
    first = turned(a, b, lengths[0], away=away)
    return first, turned(b, first, lengths[1], away=away)


def least(
    margin: Callable[..., Tensor],
    points: Sequence[Tensor],
    lengths: Sequence[Tensor],
    *,
    starts: Sequence[Sequence[Tensor]] = (),
    steps: int = 12,
) -> Tensor:
    """The least ``margin(*points)`` found by projected gradient, each point within its length.

    ``starts`` are sets of points to begin from, beside a random one.
    """
    best = torch.full((len(points[0]),), math.inf, dtype=torch.float64)
    noise = [torch.randn_like(p) for p in points]
    random = [
        p + length[:, None] * z / z.norm(dim=1, keepdim=True)
        for p, z, length in zip(points, noise, lengths, strict=True)
    ]
    for start in (random, *starts):
        at = [_inside(a, p, length) for a, p, length in zip(start, points, lengths, strict=True)]
        for step in range(steps):
            at = [a.detach().requires_grad_(True) for a in at]
            value = margin(*at)
            best = torch.minimum(best, value.detach())
            gradients = torch.autograd.grad(value.sum(), at)
            size = 0.5 * (1 + math.cos(math.pi * step / steps))
            at = [
                _inside(
                    a - size * length[:, None] * g / g.norm(dim=1, keepdim=True).clamp_min(1e-300),
                    p,
                    length,
                )
                for a, g, p, length in zip(at, gradients, points, lengths, strict=True)
            ]
        best = torch.minimum(best, margin(*at).detach())
    return best


def _inside(at: Tensor, centre: Tensor, length: Tensor) -> Tensor:
    delta = at.detach() - centre
    norm = delta.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return centre + delta * (length[:, None] / norm).clamp(max=1)
