"""A cheap prefilter for one query: products with bfloat16 copies of the rows, half as many bytes.

Let n be the query's unit vector, and q and b the bfloat16 roundings of n and of a stored unit
vector g. Then n . g - q . b = n . (g - b) + (n - q) . b is at most |g - b| + |n - q| |b|, and both
differences are known. The product of b and q is summed in float32, whose error is bounded for every
order of summation (Higham 2002, Section 3.1), and rounded to bfloat16 once, by at most 2^-8 of
itself. So a row whose computed product is below the best ones by more than this error is not among
the nearest.
"""

import functools

import torch
from torch import Tensor

from percert.search.query.distances import Queries
from percert.search.tables.halved import Halved

#: Relative error of rounding to bfloat16, of the rounded value.
ROUNDED = 2.0**-8 / (1 - 2.0**-8)


def may_be_nearest(
    halved: Halved, some: slice, queries: Queries, best: int, least: float
) -> Tensor | None:
    """The rows of the slice ``some`` that can be among the ``best`` nearest of the only query.

    Those, as indices within the slice ``(p,)``, whose product with it can be among the ``best``
    largest there and at least ``least``; no other row can. ``None`` where the bound does not hold
    (too few rows, or a processor that sums in less than float32): then all rows have to be
    compared.
    """
    rows = halved.rows[some]
    if len(rows) < best or not sums_in_float32(rows.shape[1]):
        return None
    exact = queries.h[0].double().cpu()
    query = exact.bfloat16()
    off = float((exact - query.double()).norm())
    terms = (rows.shape[1] + 16) * 2.0**-24
    fixed = halved.error + off * (1 + halved.error) + 1.1 * terms / (1 - terms) + 1e-6
    value = (rows @ query).float()
    slack = value.abs().mul_(ROUNDED).add_(fixed)
    value += halved.last[some] * float(queries.last[0])
    reached = (value - slack).topk(best, sorted=False).values.amin()
    wanted = max(float(reached), least) - 1e-6
    return (value + slack >= wanted).nonzero()[:, 0]


@functools.cache
def sums_in_float32(width: int) -> bool:
    """Whether this processor sums products of bfloat16 vectors of ``width`` values in float32.

    PyTorch documents it, and sums whose terms cancel test it: intermediate results rounded to
    bfloat16, as some libraries could, would be off by more than float32 and one last rounding
    allow.
    """
    generator = torch.Generator().manual_seed(width)
    half = (width + 1) // 2
    values = torch.randn(64, half, generator=generator).bfloat16()
    mirrored = -values[:, torch.randperm(half, generator=generator)]
    rows = torch.cat([values, mirrored], 1)[:, :width].contiguous()
    query = torch.ones(width).bfloat16()
    exact = rows.double().sum(1)
    terms = width * 2.0**-24
    allowed = exact.abs() * ROUNDED + terms / (1 - terms) * rows.double().abs().sum(1)
    off = ((rows @ query).double() - exact).abs()
    return bool((off <= allowed).all())
