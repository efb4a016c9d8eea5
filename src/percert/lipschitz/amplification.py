"""How much larger than a result the terms are that it is summed from: what rounding acts on."""

import torch
from torch import Tensor

#: Unit roundoff of what networks are computed in.
UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def amplification(weight: Tensor) -> float:
    """An upper bound of the norm of |W|, the operator with the absolute values of W's weights.

    ``weight`` is a matrix ``(out, in)`` or the kernel ``(out, in, k, k)`` of a stride-1 convolution
    with zero padding: the root of the largest row sum times the largest column sum (Schur).

    >>> amplification(torch.tensor([[3.0, -4.0]])), amplification(-torch.ones(1, 1, 3, 3))
    (5.29..., 9.0...)
    """
    # Sums of so many terms of one sign are off by less than 1e-9 of themselves in float64.
    size = weight.detach().abs().double()
    rows = size.flatten(1).sum(1).max()
    columns = size.transpose(0, 1).flatten(1).sum(1).max()
    return float((rows * columns).sqrt()) * (1 + 1e-9)


def weight_sizes(weight: Tensor, bias: Tensor) -> tuple[float, float]:
    """What rounding analysis asks of a layer: the amplification of its weight, |bias|."""
    return amplification(weight), float(bias.detach().double().norm())


def gamma(terms: int, unit: float) -> float:
    """n u / (1 - n u): the relative rounding of n operations in any order (Higham, Lemma 3.1).

    Infinite where it says nothing.

    >>> gamma(1000, UNIT[torch.float64]) < 1.2e-13
    True
    """
    share = terms * unit
    return share / (1 - share) if share < 1 else float("inf")
