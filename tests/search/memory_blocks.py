"""Collections in memory, and the full matrix in float64 that searches are compared with."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, pixel_features
from percert.lipschitz.bound import LipschitzBound
from percert.search.tables.principal_axes import fit_axes
from percert.search.tables.scan import Block
from percert.search.tables.turned import Turned, Turning

BOUND = LipschitzBound(0.5, "as if resized")


def in_blocks(
    h: Tensor,
    images: int = 7,
    views: int = 1,
    bounds: Tensor | None = None,
    likeness: Tensor | None = None,
    turned: float | None = None,
) -> Callable[..., Iterator[Block]]:
    """Opens ``(images * views, k)`` embeddings in blocks of so many images.

    Where ``turned`` is the constant of their metric, turned onto their own axes as well.
    """
    bounds = torch.full((len(h),), 0.5, dtype=torch.float64) if bounds is None else bounds

    def opened(rows: int | None = None) -> Iterator[Block]:
        step = images * views if rows is None else max(views, rows // views * views)
        for start in range(0, len(h), step):
            part = h[start : start + step]
            names = [str(i) for i in range(start // views, (start + len(part)) // views)]
            errors = torch.zeros(len(part), dtype=torch.float64)
            norms = part.double().norm(dim=1)
            like = None if likeness is None else likeness[start : start + step]
            along = None if turned is None else turn_rows(part, turned)
            yield Block(
                names,
                part,
                norms,
                bounds[start : start + step].double(),
                errors,
                views,
                like,
                along,
            )

    return opened


def turn_rows(
    h: Tensor,
    c: float,
    shares: tuple[float, ...] = (1 / 8, 1 / 4, 3 / 4),
    *,
    whole: bool = False,
) -> Turned:
    """All rows along the axes of those that have a direction, or of no shares along none."""
    norms = h.double().norm(dim=1)
    well = (norms > 1e-5) & (norms < 1e20)
    units = (h.double() / norms[:, None]).float()[well]
    axes = fit_axes(units, shares) if shares else None
    turning = Turning(axes, len(h), h.shape[1], c, whole=whole)
    turning.add(h.float(), norms)
    found = turning.done()
    assert found is not None
    return found


def query_features(q: Tensor, c: float = 0.0) -> list[PixelFeatures]:
    return [pixel_features(row[None], BOUND, constant=c) for row in q]


def unit(h: Tensor, c: float) -> Tensor:
    """[h; c] over its length, 0 for what is shorter than 1e-6; float64."""
    v = torch.cat([h.double(), torch.full((len(h), 1), c, dtype=torch.float64)], 1)
    n = v.norm(dim=1, keepdim=True)
    return torch.where(n >= 1e-6, v / n.clamp_min(1e-300), 0.0)


def full_matrix(q: Tensor, h: Tensor, c: float = 0.0) -> Tensor:
    """All distances, pair by pair, in float64."""
    return (unit(q, c)[:, None] - unit(h, c)).square().sum(2) / 2


def angle_of(distance: Tensor) -> Tensor:
    return 2 * (distance / 2).clamp(0, 1).sqrt().asin()


def awkward(seed: int, count: int, k: int) -> Tensor:
    """Float32 embeddings with ties, near ties, zeros, tiny, huge and opposite rows among them."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(count, k, generator=generator)
    h *= 10.0 ** (3 * torch.rand(count, 1, generator=generator) - 1)
    for row, kind in enumerate(torch.randint(0, 14, (count,), generator=generator).tolist()):
        other = int(torch.randint(0, count, (1,), generator=generator))
        if kind == 0:
            h[row] = h[other]
        elif kind == 1:
            h[row] = h[other] * (1 + 2.0**-22)
        elif kind == 2:
            h[row] = 0
        elif kind == 3:
            h[row] *= 1e-8
        elif kind == 4:
            h[row] *= 1e12
        elif kind == 5:
            h[row] = -h[other]
        elif kind == 6:
            h[row] = h[other] + 1e-4 * h[other].norm() / math.sqrt(k) * torch.randn(
                k, generator=generator
            )
    return h
