"""The audit of an SLL: the norm over all activation patterns, of what its forward computes.

Its forward must be x - K^T S relu(K x + b) for one scale S >= 0, up to rounding: then its
Jacobian is I - K^T S D K, where D is the slope of every ReLU, between 0 and 1. K^T S D K lies
between 0 and K^T S K, so the norm over all activation patterns is exactly max(1, lambda - 1),
lambda the largest eigenvalue of S^1/2 K K^T S^1/2: no pattern is missed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.lipschitz.operator_norms import convolution_norm, dense_norm
from percert.lipschitz.sll import SLLConv, SLLDense

#: Lengths of the inputs that forward is tried on: dark, usual and saturated ones.
LENGTHS = (1e-3, 1.0, 1e3)
#: How far forward may be from the formula, relative to the length of its input.
NEAR_FORMULA = {torch.float32: 1e-4, torch.float64: 1e-9}


def sll_upper(
    layer: SLLDense | SLLConv,
    exact: SLLDense | SLLConv,
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> tuple[float, str]:
    """The upper bound over all activation patterns, and what it rests on.

    ``layer`` as it is used, ``exact`` its copy in float64; ``shape`` of one input, without batch.
    The bound is infinite where a scale is above 2/t of Eq. 12, and where forward computes anything
    but the formula.
    """
    kernel = exact.weight.detach()
    log_q = exact.log_q.detach()
    q = (log_q - log_q.max()).clamp_min(-60).exp()
    if isinstance(exact, SLLDense):
        gram = (kernel @ kernel.T).abs()
    else:
        reach = kernel.shape[-1] - 1
        gram = F.conv2d(kernel, kernel, padding=reach).abs().sum((2, 3))
    t = gram @ q / q
    excess, largest = 0.0, torch.zeros_like(t)
    for used in (layer, exact):
        scale = used.scale().detach().double()
        # Rows of zeros have t = 0 and do nothing, whatever their scale.
        product = torch.where(t > 0, scale * t / 2, 0.0)
        excess = max(excess, float(product.max()))
        if not bool(torch.isfinite(product).all() & (scale >= 0).all()):
            return float("inf"), "the scale 2/t is not a finite number of at least 0"
        stray = _stray(used, scale, shape, generator)
        if not stray <= NEAR_FORMULA[used.weight.dtype]:
            return float("inf"), (
                f"forward is {stray:.1e} |x| away from x - K^T S relu(K x + b), S = 2/t"
            )
        largest = torch.maximum(largest, scale)
    note = f"scale * t / 2 <= {excess:.7f}, t of |K K^T|"
    if excess > 1 + 1e-6:
        return float("inf"), f"{note}: above 1"
    # Monotone in the scale: the larger of the two covers both.
    return max(1.0, _sll_norm(kernel, largest, shape) - 1), note


def _sll_norm(kernel: Tensor, scale: Tensor, shape: tuple[int, ...]) -> float:
    """lambda: the squared norm of S^1/2 K."""
    root = scale.clamp_max(1e300).sqrt()
    if kernel.ndim == 2:
        return dense_norm(kernel * root[:, None]) ** 2
    return convolution_norm(kernel * root[:, None, None, None], (shape[1], shape[2])) ** 2


def _stray(
    layer: SLLDense | SLLConv, scale: Tensor, shape: tuple[int, ...], generator: torch.Generator
) -> float:
    """How far forward is from the formula, relative to its terms: random inputs of all lengths.

    Each input sets an activation pattern of its own, and both hold in float64 but for the rounding
    of ``layer``. A difference in a weight shows in every one of them.
    """
    if len(shape) == 3:
        shape = (shape[0], *(min(side, 16) for side in shape[1:]))
    kernel, bias = layer.weight.detach().double(), layer.bias.detach().double()
    worst = 0.0
    for length in LENGTHS:
        x = length * torch.randn(4, *shape, generator=generator, dtype=torch.float64)
        x = x.to(layer.weight.dtype)
        found, given = layer(x).detach().double(), x.double()
        if kernel.ndim == 2:
            back = (F.relu(given @ kernel.T + bias) * scale) @ kernel
        else:
            padding = kernel.shape[-1] // 2
            hidden = F.relu(F.conv2d(given, kernel, bias, padding=padding))
            scaled = hidden * scale[:, None, None]
            back = F.conv_transpose2d(scaled, kernel, padding=padding)
        difference = (found - (given - back)).flatten(1).norm(dim=1)
        size = given.flatten(1).norm(dim=1) + back.flatten(1).norm(dim=1)
        worst = max(worst, float((difference / size).max()))
    return worst
