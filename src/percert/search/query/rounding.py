"""What float products of rows are off by, and the rows for which they say nothing."""

import torch
from torch import Tensor

from percert.search.tables.principal_axes import GREATEST_NORM, LEAST_NORM
from percert.search.tables.scan import Block
from percert.tensors import Vector


def rounding_margin(width: int, dtype: torch.dtype) -> float:
    """eta: how far a computed cosine may be off, for embeddings of ``width`` values.

    A sum of n products in any order errs by at most n u / (1 - n u) |x| |y| with u half the spacing
    of floats at 1 (Higham 2002, Section 3.1). The norm, its inverse, the constant and rounding the
    query add a few u; 16 stand for them.

    >>> rounding_margin(1024, torch.float32) < 7e-5
    True
    """
    u = torch.finfo(dtype).eps / 2
    terms = (width + 16) * u
    if terms >= 0.5:
        raise ValueError(f"width: embeddings of {width} values are too wide for {dtype}")
    return terms / (1 - terms)


def inverse_norms(block: Block, constant: float) -> tuple[Vector, Tensor]:
    """1 / |[h; c]| in the rows' precision, and the rows where that is no use, for float64."""
    norm = block.norms.to(block.embeddings.dtype)
    if constant:
        norm = norm.square().add_(constant**2).sqrt_()
    low, high = norm.aminmax() if len(norm) else (LEAST_NORM, 0.0)
    if low >= LEAST_NORM and high <= GREATEST_NORM:
        return 1 / norm, torch.zeros(0, dtype=torch.long)
    well = (norm >= LEAST_NORM) & (norm <= GREATEST_NORM)
    if not bool(block.norms.isfinite().all()):
        row = int(block.norms.isfinite().logical_not().nonzero()[0, 0])
        name = block.ids[row // block.views]
        raise ValueError(f"collection: the embedding of {name} is not finite")
    return torch.where(well, 1 / norm, 1.0), well.logical_not().nonzero()[:, 0]


def rounded_down(least: Vector, dtype: torch.dtype) -> Tensor:
    """``least`` in ``dtype``, not above what it is."""
    return least.to(dtype).nextafter(torch.tensor(-9.0, dtype=dtype, device=least.device))
