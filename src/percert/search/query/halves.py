"""Which rows can be among the nearest of a query, by half of their bytes.

Let n be the query's unit vector, b and q the bfloat16 ones of a row g and of n. Then
n . g - q . b = n . (g - b) + (n - q) . b is at most |g - b| + |n - q| |b|, and both differences are
known. The product of b and q is summed in float32, with the bound of any order of summing (Higham
2002, Section 3.1), and rounded to bfloat16 once, by at most 2^-8 of itself.
"""

import functools

import torch
from torch import Tensor

from percert.search.query.distances import Queries
from percert.search.tables.halved import Halved

#: What rounding to bfloat16 may take off, of what comes out.
ROUNDED = 2.0**-8 / (1 - 2.0**-8)


def may_be_nearest(
    halved: Halved, some: slice, queries: Queries, best: int, least: float
) -> Tensor | None:
    """The rows of ``some``, counted in it, whose product with the one query may be among the
    ``best`` greatest there, and reach ``least``; ``None`` where that is not told.
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
    """Whether products of bfloat16 vectors of ``width`` values are summed in float32 here.

    PyTorch says so; here sums that cancel show it. Rounded on their way, as some processors'
    routines could, they would be off by more than float32 and the last rounding allow.
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
